//! Medians, tables, the results as JSON, and the part of the README that is made of them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{Places, limits::Limits, machine::Machine, rounds::DISTURBED_SHARE};

/// The middle one; of two middle ones, their mean. Zero for none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// A line for who watches.
pub(crate) fn progress(line: &str) {
    println!("{line}");
    // Nobody may be there to read it.
    let _ = std::io::stdout().flush();
}

/// A table in Markdown; numbers stand to the right.
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self(format!("| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len())))
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.0 += &format!("| {} |\n", cells.join(" | "));
    }

    pub(crate) fn text(self) -> String {
        self.0
    }
}

/// On what, with what and how often was measured, and what the machine can do at most.
pub(crate) fn heading(machine: &Machine, limits: &Limits, rounds: u32) -> String {
    let versions = machine.versions.iter().map(|one| format!("{} {}", one.program, one.version));
    let mut table = Table::new(&["the machine's limits, one thread", ""]);
    for (name, value) in limits.rows() {
        table.row(&[name.to_owned(), value]);
    }
    format!(
        "{} (UTC). {}, {} cores, {:.0} GB, Linux {}, {}. Load before: {:.1}. Rounds: {rounds}.\n{}.\n\n{}",
        machine.measured_at,
        machine.cpu,
        machine.cores,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        machine.file_system,
        machine.load_before,
        versions.collect::<Vec<_>>().join("; "),
        table.text()
    )
}

/// How many runs were not alone on the machine, from the share of the cores that others took in each.
pub(crate) fn disturbance(shares: impl Iterator<Item = f64>) -> String {
    let shares: Vec<f64> = shares.collect();
    let disturbed = shares.iter().filter(|share| **share > DISTURBED_SHARE).count();
    let verdict = if disturbed == 0 { "" } else { " **Provisional: measure again on a quiet machine.**" };
    let percent = 100.0 * DISTURBED_SHARE;
    format!(
        "\nIn {disturbed} of {} runs others took more than {percent:.0} % of the cores.{verdict}\n",
        shares.len()
    )
}

/// Shows the tables; a whole run's become the committed results, another's lie in the work folder.
pub(crate) fn publish(
    places: &Places,
    bench: &str,
    partial: bool,
    results: &impl Serialize,
    tables: &str,
) -> Result<()> {
    progress(&format!("\n{tables}"));
    let partial = partial || places.partial;
    let folder = if partial { places.work.join("partial-results") } else { places.benches.join("results") };
    let json = write_json(&folder, bench, results)?;
    if partial {
        progress(&format!("a partial run: {} holds it, the committed results stay", json.display()));
        return Ok(());
    }
    let readme = places.benches.join("README.md");
    let text = fs::read_to_string(&readme).context("read the README of the benchmarks")?;
    fs::write(&readme, with_section(&text, bench, tables)?).context("write the README of the benchmarks")
}

fn write_json(folder: &Path, bench: &str, results: &impl Serialize) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{bench}.json"));
    let mut json = serde_json::to_string_pretty(results)?;
    json.push('\n');
    fs::write(&path, json).context("write the results")?;
    Ok(path)
}

/// The text with what stands between a bench's two markers replaced.
fn with_section(text: &str, bench: &str, section: &str) -> Result<String> {
    let (begin, end) =
        (format!("<!-- {bench}: made by `cargo xtask bench {bench}` -->\n"), format!("<!-- /{bench} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("the marker {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("the marker {end}"))?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", section.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn only_its_own_section_is_replaced() {
        let text = "a\n<!-- x: made by `cargo xtask bench x` -->\nold\n<!-- /x -->\nb\n";
        let new = with_section(text, "x", "new\n").expect("the markers");
        assert_eq!(new, "a\n<!-- x: made by `cargo xtask bench x` -->\n\nnew\n\n<!-- /x -->\nb\n");
        assert_eq!(with_section(&new, "x", "new").expect("the markers"), new);
        assert!(with_section(text, "y", "new").is_err());
    }
}
