//! What `retrieve` measures, and how the README shows it.

use serde::{Deserialize, Serialize};

use super::{clients::ClientKind, work::Work};
use crate::{
    goals::Goal,
    limits::Limits,
    machine::Machine,
    receivers::Target,
    report::{self, median},
    rounds::{Contest, Shared},
};

/// What one start of a server gave.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Asked for the first time since the server began.
    pub(super) cold: Measured,
    /// Asked for again.
    pub(super) warm: Measured,
    /// Share of all cores' time that neither server, client nor the kernel's own threads took.
    pub(super) other_cpu_share: f64,
}

/// One pass.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    /// In the unit of the work.
    pub(super) figure: f64,
    /// User and system time of the server, for 10^9 bytes of bodies.
    pub(super) server_cpu_seconds_per_gb: f64,
}

impl Shared for Sample {
    fn other_cpu_share(&self) -> f64 {
        self.other_cpu_share
    }
}

impl Sample {
    /// Each figure's median, on its own.
    fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
        Self {
            cold: Measured {
                figure: of(|sample| sample.cold.figure),
                server_cpu_seconds_per_gb: of(|sample| sample.cold.server_cpu_seconds_per_gb),
            },
            warm: Measured {
                figure: of(|sample| sample.warm.figure),
                server_cpu_seconds_per_gb: of(|sample| sample.warm.server_cpu_seconds_per_gb),
            },
            other_cpu_share: of(|sample| sample.other_cpu_share),
        }
    }
}

/// Work by a kind of client.
pub(super) type Load = (Work, ClientKind);

/// All starts of one server for one load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    work: String,
    client: String,
    unit: String,
    server: String,
    median: Sample,
    samples: Vec<Sample>,
    #[serde(skip)]
    server_counts_bytes: bool,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) limits: Limits,
    pub(super) rounds: u32,
    pub(super) instances: u64,
    pub(super) bytes: u64,
    pub(super) goals: Vec<Goal>,
    pub(super) rows: Vec<Row>,
}

/// The rows of all contests.
pub(super) fn rows(contests: &[Contest<Load, Target, Sample>]) -> Vec<Row> {
    let row = |(work, client): Load, server: Target, samples: &[Sample]| Row {
        work: work.name().to_owned(),
        client: client.name().to_owned(),
        unit: work.unit().to_owned(),
        server: server.name().to_owned(),
        median: Sample::median(samples),
        samples: samples.to_vec(),
        server_counts_bytes: work.counts_bytes(),
    };
    let of = |contest: &Contest<Load, Target, Sample>| {
        contest.runs.iter().map(|(server, samples)| row(contest.load, *server, samples)).collect::<Vec<_>>()
    };
    contests.iter().flat_map(of).collect()
}

/// A goal: at least so many times as fast as Orthanc, cold and warm; and, of its CPU per GB, no more than so many times when cold.
struct Wanted {
    work: Work,
    cold: f64,
    warm: f64,
    cold_cpu: Option<f64>,
}

const fn wanted(work: Work, cold: f64, warm: f64, cold_cpu: Option<f64>) -> Wanted {
    Wanted { work, cold, warm, cold_cpu }
}

const WANTED: [Wanted; 6] = [
    wanted(Work::Metadata, 20.0, 20.0, None),
    wanted(Work::Open, 10.0, 10.0, None),
    wanted(Work::Frames, 1.0, 2.0, Some(1.5)),
    wanted(Work::FramesBySeveral, 1.0, 2.0, Some(1.5)),
    wanted(Work::Study, 1.0, 1.0, Some(1.5)),
    wanted(Work::Rendered, 1.5, 5.0, None),
];

/// Every goal with what these contests say of it.
pub(super) fn goals(contests: &[Contest<Load, Target, Sample>]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for contest in contests {
        let (work, client) = contest.load;
        let of = |server| {
            let samples =
                contest.runs.iter().find(|(of, _)| *of == server).map(|(_, samples)| samples.as_slice());
            samples.filter(|samples| !samples.is_empty()).map(Sample::median)
        };
        let pair = of(Target::Filmgate).zip(of(Target::OrthancDicomweb));
        let goal = |what: &str, at_least, bound, ratio: fn(Work, Sample, Sample) -> f64| Goal {
            what: format!("{}, {what}, {}", work.name(), client.name()),
            at_least,
            bound,
            unit: "×".to_owned(),
            measured: pair.map(|(ours, other)| ratio(work, ours, other)),
        };
        for wanted in WANTED.iter().filter(|wanted| wanted.work == work) {
            goals.push(goal("cold: times as fast", true, wanted.cold, |work, ours, other| {
                work.times_as_fast(ours.cold.figure, other.cold.figure)
            }));
            goals.push(goal("warm: times as fast", true, wanted.warm, |work, ours, other| {
                work.times_as_fast(ours.warm.figure, other.warm.figure)
            }));
            if let Some(bound) = wanted.cold_cpu {
                goals.push(goal("cold: server CPU per GB", false, bound, |_, ours, other| {
                    ours.cold.server_cpu_seconds_per_gb / other.cold.server_cpu_seconds_per_gb
                }));
            }
        }
    }
    goals
}

impl Results {
    /// What the README shows.
    pub(super) fn tables(&self) -> String {
        let shares = self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.other_cpu_share);
        let mut lines = report::Table::new(&[
            "work, client",
            "server",
            "cold",
            "(least to most)",
            "warm",
            "(least to most)",
            "unit",
            "cold, CPU s/GB",
            "warm, CPU s/GB",
            "others",
        ]);
        let mut named = String::new();
        for row in &self.rows {
            let name = format!("{}, {}", row.work, row.client);
            lines.row(&row.cells(if named == name { "" } else { &name }));
            named = name;
        }
        let mut goals = report::Table::new(&["goal, beside Orthanc", "wanted", "measured", ""]);
        for goal in self.goals.iter().filter(|goal| goal.measured.is_some()) {
            goals.row(&goal.cells());
        }
        format!(
            "{}{}\n{} instances, {:.0} MB.\n\n{}\n**Goals** of this build; \"met\" and \"missed\" are of this run:\n\n{}",
            report::heading(&self.machine, &self.limits, self.rounds),
            report::disturbance(shares),
            self.instances,
            self.bytes as f64 / 1e6,
            lines.text(),
            goals.text()
        )
    }
}

impl Row {
    fn cells(&self, name: &str) -> [String; 10] {
        let figure =
            |figure: f64| if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") };
        let range = |of: fn(&Sample) -> f64| {
            let figures = self.samples.iter().map(of);
            let (least, most) = (figures.clone().fold(f64::INFINITY, f64::min), figures.fold(0.0, f64::max));
            format!("{} to {}", figure(least), figure(most))
        };
        let cpu = |measured: Measured| {
            let seconds = measured.server_cpu_seconds_per_gb;
            if self.server_counts_bytes { format!("{seconds:.2}") } else { String::new() }
        };
        [
            name.to_owned(),
            self.server.clone(),
            figure(self.median.cold.figure),
            range(|sample| sample.cold.figure),
            figure(self.median.warm.figure),
            range(|sample| sample.warm.figure),
            self.unit.clone(),
            cpu(self.median.cold),
            cpu(self.median.warm),
            format!("{:.0} %", 100.0 * self.median.other_cpu_share),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loaded::SERVERS;

    fn sample(figure: f64) -> Sample {
        let measured = Measured { figure, server_cpu_seconds_per_gb: figure };
        Sample { cold: measured, warm: measured, other_cpu_share: 0.0 }
    }

    #[test]
    fn shorter_is_faster_and_so_is_more() {
        for (work, ours, other) in [(Work::Metadata, 1.0, 20.0), (Work::Frames, 20.0, 1.0)] {
            let mut contest = Contest::new((work, ClientKind::Rust), SERVERS.into_iter());
            for (server, samples) in &mut contest.runs {
                samples.push(sample(if *server == Target::Filmgate { ours } else { other }));
            }
            let goals = goals(&[contest]);
            assert!(goals.iter().filter(|goal| goal.at_least).all(|goal| goal.measured == Some(20.0)));
        }
    }
}
