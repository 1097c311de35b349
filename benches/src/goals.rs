//! What the build is meant to reach beside its peers, worked out from one run's medians. No figure fails a build.

use serde::{Deserialize, Serialize};

use crate::{
    data::Kind,
    figures::{Row, Sample},
    receivers::Target,
    senders::Sender,
};

/// One goal and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) at_least: bool,
    pub(crate) bound: f64,
    pub(crate) unit: String,
    /// `None` where a run it needs was left out.
    pub(crate) measured: Option<f64>,
}

impl Goal {
    fn met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(if self.at_least { measured >= self.bound } else { measured <= self.bound })
    }

    /// Goal, wanted, measured, verdict.
    pub(crate) fn cells(&self) -> [String; 4] {
        let sign = if self.at_least { "≥" } else { "≤" };
        let unit = if self.unit == "×" { " ×".to_owned() } else { format!(" {}", self.unit) };
        let verdict = match self.met() {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        [
            self.what.clone(),
            format!("{sign} {}{unit}", self.bound),
            self.measured.map_or_else(String::new, |measured| {
                let digits = if measured < 1.0 { 3 } else { 2 };
                format!("{measured:.digits$}{unit}")
            }),
            verdict.to_owned(),
        ]
    }
}

/// Figures by files, sender, associations and receiver.
struct Figures<'a>(&'a [Row]);

impl Figures<'_> {
    fn of(&self, kind: Kind, sender: Sender, associations: u8, target: Target) -> Option<&Sample> {
        let row = self.0.iter().find(|row| {
            row.files == kind.name()
                && row.sender == sender.name()
                && row.associations == associations
                && row.receiver == target.name()
        })?;
        Some(&row.median)
    }

    /// Our figure over a peer's.
    fn ratio(&self, goal: &Ratio) -> Option<f64> {
        let (kind, sender, associations) = goal.way;
        let ours = (goal.figure)(self.of(kind, sender, associations, Target::Filmgate)?);
        Some(ours / (goal.figure)(self.of(kind, sender, associations, goal.peer)?))
    }
}

/// A goal that is a ratio to a peer.
struct Ratio {
    way: (Kind, Sender, u8),
    peer: Target,
    figure: fn(&Sample) -> f64,
    at_least: bool,
    bound: f64,
}

const fn speed(way: (Kind, Sender, u8), peer: Target, bound: f64) -> Ratio {
    Ratio { way, peer, figure: |sample| sample.mb_per_s, at_least: true, bound }
}

const fn cpu(way: (Kind, Sender, u8), peer: Target, bound: f64) -> Ratio {
    Ratio { way, peer, figure: |sample| sample.receiver_cpu_seconds_per_gb, at_least: false, bound }
}

const RATIOS: [Ratio; 9] = [
    speed((Kind::Ct, Sender::Storescu, 4), Target::Orthanc, 3.0),
    speed((Kind::Ct, Sender::Own, 4), Target::Orthanc, 4.0),
    speed((Kind::Ct, Sender::Storescu, 4), Target::Storescp, 0.75),
    cpu((Kind::Ct, Sender::Storescu, 4), Target::Orthanc, 0.4),
    speed((Kind::Ct, Sender::Storescu, 1), Target::Orthanc, 2.5),
    speed((Kind::Ct, Sender::Storescu, 16), Target::Orthanc, 2.5),
    speed((Kind::Mr, Sender::Storescu, 4), Target::Orthanc, 4.0),
    speed((Kind::Mr, Sender::Storescu, 4), Target::Storescp, 1.5),
    cpu((Kind::Mr, Sender::Storescu, 4), Target::Orthanc, 0.1),
];

/// Every goal with what these rows say of it.
pub(crate) fn goals(rows: &[Row]) -> Vec<Goal> {
    let figures = Figures(rows);
    let ratios = RATIOS.iter().map(|ratio| {
        let (kind, sender, associations) = ratio.way;
        let what = if ratio.at_least { "speed" } else { "receiver CPU per GB" };
        Goal {
            what: format!(
                "{}, {} x {associations}: {what} / {}",
                kind.name(),
                sender.name(),
                ratio.peer.name()
            ),
            at_least: ratio.at_least,
            bound: ratio.bound,
            unit: "×".to_owned(),
            measured: figures.ratio(ratio),
        }
    });
    ratios.chain(memory(&figures)).collect()
}

fn memory(figures: &Figures<'_>) -> [Goal; 2] {
    let peak = |associations| {
        let sample = figures.of(Kind::Ct, Sender::Storescu, associations, Target::Filmgate)?;
        Some(sample.peak_resident_bytes)
    };
    let each = peak(16).zip(peak(1)).map(|(many, one)| (many - one) / 15.0 / f64::from(1 << 20));
    let goal = |what: &str, bound, unit: &str, measured| Goal {
        what: what.to_owned(),
        at_least: false,
        bound,
        unit: unit.to_owned(),
        measured,
    };
    [
        goal("CT, storescu: memory an association more takes, (16 less 1) / 15", 1.5, "MiB", each),
        goal("CT, storescu x 16: peak resident memory", 150.0, "MB", peak(16).map(|bytes| bytes / 1e6)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: Target, mb_per_s: f64) -> Row {
        let median = Sample { mb_per_s, ..Sample::default() };
        let (files, sender) = (Kind::Ct.name().to_owned(), Sender::Own.name().to_owned());
        Row {
            files,
            sender,
            associations: 4,
            receiver: target.name().to_owned(),
            median,
            samples: vec![median],
        }
    }

    #[test]
    fn a_goal_is_met_at_its_bound_missed_below_and_open_without_runs() {
        for (ours, met) in [(400.0, true), (399.0, false)] {
            let goals = goals(&[row(Target::Filmgate, ours), row(Target::Orthanc, 100.0)]);
            let verdicts: Vec<_> = goals.iter().filter_map(Goal::met).collect();
            assert_eq!(verdicts, [met]);
        }
    }
}
