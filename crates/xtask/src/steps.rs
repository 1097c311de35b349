//! A list of named steps, each run unless a step it needs has failed, with a summary at the end.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

/// The steps run so far.
#[derive(Default)]
pub(crate) struct Steps {
    ran: Vec<(&'static str, Outcome, Duration)>,
}

impl Steps {
    /// Runs a step now, or skips it when one of those it `needs` did not pass.
    pub(crate) fn step(&mut self, name: &'static str, needs: &[&str], work: impl FnOnce() -> Result<()>) {
        if let Some(lacking) = needs.iter().find(|need| !self.passed(need)) {
            println!("\n== {name}: skipped, it needs \"{lacking}\"");
            self.ran.push((name, Outcome::Skipped, Duration::ZERO));
            return;
        }
        println!("\n== {name}");
        let started = Instant::now();
        let outcome = match work() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                eprintln!("{name}: {error:#}");
                Outcome::Failed
            }
        };
        self.ran.push((name, outcome, started.elapsed()));
    }

    /// Prints how every step went.
    ///
    /// # Errors
    /// When a step failed or could not run.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n== Summary");
        for (name, outcome, took) in &self.ran {
            println!("{outcome:<8} {:>7.1} s  {name}", took.as_secs_f64());
        }
        let count = |wanted| self.ran.iter().filter(|(_, outcome, _)| *outcome == wanted).count();
        let (failed, skipped) = (count(Outcome::Failed), count(Outcome::Skipped));
        if failed + skipped > 0 {
            bail!("{failed} of {} steps failed, {skipped} skipped", self.ran.len());
        }
        Ok(())
    }

    fn passed(&self, name: &str) -> bool {
        self.ran.iter().any(|(ran, outcome, _)| *ran == name && *outcome == Outcome::Passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_failed_step_is_skipped_and_the_rest_runs() {
        let mut steps = Steps::default();
        let mut ran = Vec::new();
        steps.step("build", &[], || bail!("no compiler"));
        steps.step("run", &["build"], || {
            ran.push("run");
            Ok(())
        });
        steps.step("format", &[], || {
            ran.push("format");
            Ok(())
        });
        let error = steps.finish().expect_err("a step failed").to_string();
        assert_eq!(ran, ["format"]);
        assert_eq!(error, "1 of 3 steps failed, 1 skipped");
    }
}
