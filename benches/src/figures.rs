//! What `ingest` measures, and how the README shows it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    goals::Goal,
    limits::Limits,
    machine::Machine,
    report::{self, median},
    rounds::Shared,
};

/// What one run gave. Seconds, bytes, MB and GB of 10^6 and 10^9 bytes of files.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// From the first sender's start to the last one's end; of our own sender, what it spends sending.
    pub(crate) seconds: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) instances_per_s: f64,
    /// User and system time of the receiver and its children, up to the last answer.
    pub(crate) receiver_cpu_seconds_per_gb: f64,
    pub(crate) sender_cpu_seconds_per_gb: f64,
    /// Share of all cores' time that neither receiver, senders nor the kernel's own threads took: others, or the host.
    pub(crate) other_cpu_share: f64,
    /// Most resident memory during receipt, forked children's shared pages counted once each.
    pub(crate) peak_resident_bytes: f64,
    /// Of that, heap and stacks.
    pub(crate) peak_anonymous_bytes: f64,
    /// The first lot of files, into an empty folder.
    pub(crate) first_lot_mb_per_s: f64,
    /// From the last answer until everything is verified in the bucket; zero for who has no such thing.
    pub(crate) drain_seconds: f64,
    pub(crate) drain_cpu_seconds_per_gb: f64,
}

impl Shared for Sample {
    fn other_cpu_share(&self) -> f64 {
        self.other_cpu_share
    }
}

impl Sample {
    /// Each figure's median, on its own.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
        Self {
            seconds: of(|sample| sample.seconds),
            mb_per_s: of(|sample| sample.mb_per_s),
            instances_per_s: of(|sample| sample.instances_per_s),
            receiver_cpu_seconds_per_gb: of(|sample| sample.receiver_cpu_seconds_per_gb),
            sender_cpu_seconds_per_gb: of(|sample| sample.sender_cpu_seconds_per_gb),
            other_cpu_share: of(|sample| sample.other_cpu_share),
            peak_resident_bytes: of(|sample| sample.peak_resident_bytes),
            peak_anonymous_bytes: of(|sample| sample.peak_anonymous_bytes),
            first_lot_mb_per_s: of(|sample| sample.first_lot_mb_per_s),
            drain_seconds: of(|sample| sample.drain_seconds),
            drain_cpu_seconds_per_gb: of(|sample| sample.drain_cpu_seconds_per_gb),
        }
    }
}

/// All runs of one way to one receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) files: String,
    pub(crate) sender: String,
    pub(crate) associations: u8,
    pub(crate) receiver: String,
    pub(crate) median: Sample,
    pub(crate) samples: Vec<Sample>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) limits: Limits,
    pub(crate) rounds: u32,
    pub(crate) sets: Vec<SetFacts>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) rows: Vec<Row>,
}

/// What was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SetFacts {
    pub(crate) files: String,
    pub(crate) instances: u64,
    pub(crate) bytes: u64,
    pub(crate) studies: usize,
}

impl Results {
    /// What the README shows.
    pub(crate) fn tables(&self) -> String {
        let shares = self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.other_cpu_share);
        let mut text =
            report::heading(&self.machine, &self.limits, self.rounds) + &report::disturbance(shares);
        for set in &self.sets {
            text += &format!(
                "\n**{}**: {} instances, {:.0} MB, {} studies.\n\n",
                set.files,
                set.instances,
                set.bytes as f64 / 1e6,
                set.studies
            );
            text += &self.table(&set.files);
        }
        text + &self.goals_table()
    }

    fn table(&self, files: &str) -> String {
        let mut lines = report::Table::new(&[
            "sender, associations",
            "receiver",
            "MB/s",
            "(least to most)",
            "instances/s",
            "CPU s/GB",
            "peak RSS, MB",
            "drain, s",
            "drain CPU s/GB",
            "first lot, MB/s",
            "others",
        ]);
        let mut named = HashSet::new();
        for row in self.rows.iter().filter(|row| row.files == files) {
            let way = format!("{}, {}", row.sender, row.associations);
            let first = named.insert(way.clone());
            let (one, rates) = (&row.median, row.samples.iter().map(|sample| sample.mb_per_s));
            let drains = one.drain_seconds > 0.0;
            let if_drains = |text: String| if drains { text } else { String::new() };
            lines.row(&[
                if first { way } else { String::new() },
                row.receiver.clone(),
                format!("{:.0}", one.mb_per_s),
                format!(
                    "{:.0} to {:.0}",
                    rates.clone().fold(f64::INFINITY, f64::min),
                    rates.fold(0.0, f64::max)
                ),
                format!("{:.0}", one.instances_per_s),
                format!("{:.1}", one.receiver_cpu_seconds_per_gb),
                format!("{:.0}", one.peak_resident_bytes / 1e6),
                if_drains(format!("{:.1}", one.drain_seconds)),
                if_drains(format!("{:.1}", one.drain_cpu_seconds_per_gb)),
                format!("{:.0}", one.first_lot_mb_per_s),
                format!("{:.0} %", 100.0 * one.other_cpu_share),
            ]);
        }
        lines.text()
    }

    fn goals_table(&self) -> String {
        let mut lines = report::Table::new(&["goal", "wanted", "measured", ""]);
        for goal in self.goals.iter().filter(|goal| goal.measured.is_some()) {
            lines.row(&goal.cells());
        }
        format!("\n**Goals** of this build; \"met\" and \"missed\" are of this run:\n\n{}", lines.text())
    }
}
