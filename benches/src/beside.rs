//! Figures of ours beside the same done plainly, from rounds in which both took their turn.

use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    report::{self, median},
};

/// Ours and the other's, and what their ratio should be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) what: String,
    pub(crate) beside: String,
    pub(crate) unit: String,
    pub(crate) ours: Vec<f64>,
    pub(crate) others: Vec<f64>,
    pub(crate) at_least: bool,
    pub(crate) bound: f64,
}

impl Pair {
    pub(crate) fn new(what: &str, beside: &str, unit: &str, at_least: bool, bound: f64) -> Self {
        let (ours, others) = (Vec::new(), Vec::new());
        Self { what: what.into(), beside: beside.into(), unit: unit.into(), ours, others, at_least, bound }
    }

    /// One round's figures.
    pub(crate) fn add(&mut self, ours: f64, others: f64) {
        report::progress(&format!(
            "{}: {ours:.1} {unit}, {}: {others:.1} {unit}, {:.2} x",
            self.what,
            self.beside,
            ours / others,
            unit = self.unit
        ));
        self.ours.push(ours);
        self.others.push(others);
    }

    /// The median of the rounds' ratios: what disturbs a round meets both.
    fn ratio(&self) -> f64 {
        let ratios = self.ours.iter().zip(&self.others).map(|(ours, other)| ours / other);
        median(&ratios.collect::<Vec<_>>())
    }

    fn cells(&self) -> [String; 6] {
        let (ratio, sign) = (self.ratio(), if self.at_least { "≥" } else { "≤" });
        let met = if self.at_least { ratio >= self.bound } else { ratio <= self.bound };
        [
            self.what.clone(),
            format!("{:.1} {}", median(&self.ours), self.unit),
            self.beside.clone(),
            format!("{:.1} {}", median(&self.others), self.unit),
            format!("{ratio:.2} × ({sign} {})", self.bound),
            if met { "met" } else { "**missed**" }.to_owned(),
        ]
    }
}

/// What a run gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) pairs: Vec<Pair>,
    /// Facts that stand beside the figures.
    pub(crate) notes: Vec<String>,
}

impl Results {
    /// What the README shows.
    pub(crate) fn tables(&self) -> String {
        let machine = &self.machine;
        let mut table = report::Table::new(&["what", "Filmgate", "beside", "", "ratio (goal)", ""]);
        for pair in &self.pairs {
            table.row(&pair.cells());
        }
        let notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        format!(
            "{} (UTC). {}, {} cores, Linux {}, {}. Load before: {:.1}. Rounds: {}; medians, the ratio that of each \
             round.\n\n{}\n{notes}",
            machine.measured_at,
            machine.cpu,
            machine.cores,
            machine.kernel,
            machine.file_system,
            machine.load_before,
            self.rounds,
            table.text()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_each_round() {
        let mut pair = Pair::new("ours", "plain", "MB/s", true, 0.8);
        for (ours, other) in [(80.0, 100.0), (8.0, 10.0), (90.0, 10.0)] {
            pair.add(ours, other);
        }
        assert!((pair.ratio() - 0.8).abs() < 1e-9);
        assert!(pair.cells().contains(&"met".to_owned()));
    }
}
