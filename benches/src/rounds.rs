//! Rounds in which contenders take turns, so that what changes on a machine meets them all alike.

use anyhow::Result;

use crate::report;

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
/// `run` gives a sample and a line about it.
pub(crate) fn run_all<L, C: Ord + Copy, S>(
    contests: &mut [Contest<L, C, S>],
    rounds: u32,
    run: impl Fn(&L, C) -> Result<(S, String)>,
) -> Result<()> {
    for round in 0..rounds {
        for contest in &mut *contests {
            let contenders = contest.runs.len().max(1);
            contest.runs.sort_by_key(|(contender, _)| *contender);
            contest.runs.rotate_left(round as usize % contenders);
            for (contender, samples) in &mut contest.runs {
                let (sample, line) = run(&contest.load, *contender)?;
                report::progress(&format!("round {}: {line}", round + 1));
                samples.push(sample);
            }
        }
    }
    for contest in contests {
        contest.runs.sort_by_key(|(contender, _)| *contender);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn everybody_has_a_turn_in_each_round_and_another_one_begins() {
        let turns = RefCell::new(Vec::new());
        let mut contests = [Contest::new("load", 0..3)];
        run_all(&mut contests, 2, |_, contender| {
            turns.borrow_mut().push(contender);
            Ok((10 * contender, String::new()))
        })
        .expect("it runs");
        assert_eq!(turns.into_inner(), [0, 1, 2, 1, 2, 0]);
        assert_eq!(contests[0].runs, [(0, vec![0; 2]), (1, vec![10; 2]), (2, vec![20; 2])]);
    }
}
