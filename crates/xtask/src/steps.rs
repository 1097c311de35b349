//! A list of named steps, each run unless a step it needs has failed, with a summary at the end.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
    /// Not for this machine, and no failure.
    LeftOut(&'static str),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped | Self::LeftOut(_) => "skipped",
        })
    }
}

/// The steps run so far.
#[derive(Default)]
pub(crate) struct Steps {
    ran: Vec<(&'static str, Outcome, Duration)>,
    /// Of the steps that can be chosen, those whose name contains this.
    only: Option<String>,
    /// All of these.
    choice: Vec<&'static str>,
}

impl Steps {
    /// Only those of the steps that can be chosen whose name contains this.
    pub(crate) fn only(only: Option<String>) -> Self {
        Self { only, ..Self::default() }
    }

    /// A step that can be chosen: run when it is, as [`Self::step`] does.
    pub(crate) fn chosen(&mut self, name: &'static str, needs: &[&str], work: impl FnOnce() -> Result<()>) {
        self.choice.push(name);
        if self.is_chosen(name) {
            self.step(name, needs, work);
        }
    }

    /// A step that can be chosen and cannot be done on this machine, which is no failure.
    pub(crate) fn leave_out(&mut self, name: &'static str, why: &'static str) {
        self.choice.push(name);
        if self.is_chosen(name) {
            println!("\n== {name}: skipped: {why}");
            self.ran.push((name, Outcome::LeftOut(why), Duration::ZERO));
        }
    }

    /// True when a step of this name is chosen.
    pub(crate) fn is_chosen(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

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
            let why = if let Outcome::LeftOut(why) = outcome { format!(" ({why})") } else { String::new() };
            println!("{outcome:<8} {:>7.1} s  {name}{why}", took.as_secs_f64());
        }
        let ran = |name: &&'static str| self.ran.iter().any(|(ran, ..)| ran == name);
        if !self.choice.is_empty() && !self.choice.iter().any(ran) {
            bail!("no step is called so; there are: {}", self.choice.join(", "));
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

    #[test]
    fn what_is_not_chosen_does_not_run_and_what_is_left_out_is_no_failure() {
        let mut ran = Vec::new();
        let mut steps = Steps::only(Some("trip".to_owned()));
        steps.step("build", &[], || Ok(()));
        steps.chosen("round trips", &["build"], || {
            ran.push("round trips");
            Ok(())
        });
        steps.chosen("duplicates", &["build"], || bail!("not chosen"));
        steps.leave_out("round trips elsewhere", "not installed");
        steps.finish().expect("nothing failed");
        assert_eq!(ran, ["round trips"]);
        let mut none = Steps::only(Some("no such thing".to_owned()));
        none.chosen("round trips", &[], || Ok(()));
        assert!(none.finish().expect_err("nothing ran").to_string().contains("round trips"));
    }
}
