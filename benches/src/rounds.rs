//! Rounds in which contenders take turns, so that what changes on a machine meets them all alike.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{process::Account, report};

/// Past this share of all cores' time that others took, a run counts as disturbed.
pub(crate) const DISTURBED_SHARE: f64 = 0.1;
/// How long a quiet machine is waited for.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
const LOOK_FOR: Duration = Duration::from_secs(1);

/// A sample that knows what share of all cores' time others took meanwhile.
pub(crate) trait Shared {
    fn other_cpu_share(&self) -> f64;
}

/// A load, and what each contender made of it.
pub(crate) struct Contest<L, C, S> {
    pub(crate) load: L,
    pub(crate) runs: Vec<(C, Vec<S>)>,
}

impl<L, C: Ord + Copy, S> Contest<L, C, S> {
    pub(crate) fn new(load: L, contenders: impl Iterator<Item = C>) -> Self {
        Self { load, runs: contenders.map(|contender| (contender, Vec::new())).collect() }
    }
}

/// Runs every contest in every round, another contender first in each; afterwards they stand in order again.
/// `run` gives a sample and a line about it; a disturbed one is repeated, up to `patience` times, and the least
/// disturbed counts.
pub(crate) fn run_all<L, C: Ord + Copy, S: Shared>(
    contests: &mut [Contest<L, C, S>],
    rounds: u32,
    patience: u32,
    run: impl Fn(&L, C) -> Result<(S, String)>,
) -> Result<()> {
    for round in 0..rounds {
        for contest in &mut *contests {
            let contenders = contest.runs.len().max(1);
            contest.runs.sort_by_key(|(contender, _)| *contender);
            contest.runs.rotate_left(round as usize % contenders);
            for (contender, samples) in &mut contest.runs {
                let told = |again: &str| {
                    let (sample, line) = run(&contest.load, *contender)?;
                    let others = 100.0 * sample.other_cpu_share();
                    report::progress(&format!("round {}{again}: {line}, others {others:.0} %", round + 1));
                    Ok(sample)
                };
                samples.push(least_disturbed(told, patience, wait_for_quiet)?);
            }
        }
    }
    for contest in contests {
        contest.runs.sort_by_key(|(contender, _)| *contender);
    }
    Ok(())
}

fn least_disturbed<S: Shared>(
    run: impl Fn(&str) -> Result<S>,
    patience: u32,
    wait: impl Fn() -> Result<()>,
) -> Result<S> {
    let mut best = run("")?;
    for _ in 0..patience {
        if best.other_cpu_share() <= DISTURBED_SHARE {
            break;
        }
        wait()?;
        let sample = run(", again")?;
        if sample.other_cpu_share() < best.other_cpu_share() {
            best = sample;
        }
    }
    Ok(best)
}

/// Waits until next to nothing runs, or the time is up.
fn wait_for_quiet() -> Result<()> {
    let since = Instant::now();
    while since.elapsed() < QUIET_WITHIN {
        let account = Account::open()?;
        thread::sleep(LOOK_FOR);
        if account.other_share(0.0)? < DISTURBED_SHARE / 2.0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    impl Shared for f64 {
        fn other_cpu_share(&self) -> f64 {
            *self
        }
    }

    #[test]
    fn everybody_has_a_turn_in_each_round_and_another_one_begins() {
        let turns = RefCell::new(Vec::new());
        let mut contests = [Contest::new("load", 0..3)];
        run_all(&mut contests, 2, 0, |_, contender| {
            turns.borrow_mut().push(contender);
            Ok((f64::from(contender), String::new()))
        })
        .expect("it runs");
        assert_eq!(turns.into_inner(), [0, 1, 2, 1, 2, 0]);
        assert_eq!(contests[0].runs, [(0, vec![0.0; 2]), (1, vec![1.0; 2]), (2, vec![2.0; 2])]);
    }

    #[test]
    fn of_disturbed_runs_the_least_disturbed_counts() {
        let shares = RefCell::new(vec![0.0, 0.5, 0.9]);
        let least = |patience| {
            let share = |_: &str| Ok(shares.borrow_mut().pop().unwrap_or(1.0));
            least_disturbed(share, patience, || Ok(())).expect("it runs")
        };
        assert_eq!(least(1), 0.5);
        assert_eq!(least(1), 0.0);
    }
}
