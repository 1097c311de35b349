//! `filmgate status`.

use clap::Args;
use filmgate_model::Timestamp;
use serde_json::Value;

use super::{SettingsFrom, local::there_or_here};
use crate::{build::Gateway, failure};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFrom,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Asks the running gateway; without one, looks into the data directory itself.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let here = async |gateway: &Gateway| Ok(serde_json::to_value(gateway.road.status().await?)?);
    let status = there_or_here(&settings, |gateway| gateway.get("/api/status"), here)?;
    if arguments.json {
        failure::print_json(&status);
    } else {
        failure::print(&page(&status));
    }
    Ok(failure::DONE)
}

/// The status for a person at a terminal.
fn page(status: &Value) -> String {
    let mut lines = vec!["Instances".to_owned()];
    let states = status["states"].as_object().into_iter().flatten();
    for (state, count) in states.filter(|(_, count)| count.as_u64() != Some(0)) {
        lines.push(format!("  {state:<12} {count}"));
    }
    let waiting = |key: &str| status["waiting"][key].as_u64().unwrap_or(0);
    if waiting("instances") > 0 {
        lines.push(format!(
            "On their way  {} instances, {:.2} GB, the oldest for {} s; then they are verified in every bucket",
            waiting("instances"),
            waiting("dataset_bytes") as f64 / 1e9,
            waiting("oldest_ms") / 1000
        ));
    }
    lines.push(format!("Catalog       {}", status["catalog"].as_str().unwrap_or("unknown")));
    let bytes = |key: &str| status["spool"][key].as_u64().unwrap_or(0) as f64 / 1e9;
    lines.push(format!(
        "Journal       {:.2} of {:.2} GB, local packs {:.2} GB, disk free {:.2} GB",
        bytes("used_bytes"),
        bytes("bytes_max"),
        bytes("packs_bytes"),
        bytes("disk_free_bytes")
    ));
    if status["spool"]["accepting"] == Value::Bool(false) {
        lines.push("Associations are refused: there is no room on the local disk.".to_owned());
    }
    for placement in status["placements"].as_array().into_iter().flatten() {
        lines.extend(placement_line(placement));
    }
    lines.extend(log_lines(status));
    lines.extend(book_lines(&status["book"]));
    lines.extend(node_lines(status));
    lines.extend(copies_line(status));
    for pack in status["retrying"].as_array().into_iter().flatten() {
        let next = Timestamp(pack["next_try_at"].as_i64().unwrap_or_default());
        let (id, reason) = (text(&pack["pack_id"]), text(&pack["reason"]));
        lines.push(format!("Waiting       pack {id}, {} tries, next {next}: {reason}", pack["attempts"]));
        let placements = pack["placements"].as_array().into_iter().flatten();
        let verified = placements.filter(|placement| placement["verified"] == Value::Bool(true));
        lines.extend(
            verified.map(|placement| format!("              it is verified in {}", text(&placement["name"]))),
        );
    }
    for instance in status["quarantined"].as_array().into_iter().flatten() {
        lines.push(format!(
            "Quarantined   record {}: {}",
            text(&instance["record_id"]),
            text(&instance["reason"])
        ));
    }
    for notice in status["notices"].as_array().into_iter().flatten() {
        let subject = text(&notice["subject"]);
        let of = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
        lines.push(format!("To be done    {of}{}", text(&notice["detail"])));
    }
    for alarm in status["alarms"].as_array().into_iter().flatten() {
        let (kind, subject, detail) = (text(&alarm["kind"]), text(&alarm["subject"]), text(&alarm["detail"]));
        lines.push(format!("Alarm         {kind} {subject}: {detail}"));
    }
    lines.join("\n")
}

/// Where this node's log stands, and how far a follower has read those of others.
fn log_lines(status: &Value) -> Vec<String> {
    let (log, mut lines) = (&status["log"], Vec::new());
    if let Some(incarnation) = log["incarnation"].as_str() {
        let (sequence, waiting) = (&log["sequence"], log["waiting"].as_u64().unwrap_or(0));
        let behind = if waiting > 0 { format!(", {waiting} facts to be told") } else { String::new() };
        lines.push(format!("Log           {incarnation} at batch {sequence}{behind}"));
    }
    if let Some(problem) = log["problem"].as_str() {
        lines.push(format!("              it is put off: {problem}"));
    }
    let follow = &status["follow"];
    if follow.is_object() {
        lines.push(match follow["behind_ms"].as_u64() {
            Some(behind) => {
                format!("Follows       {} batches read, {} s behind", follow["batches"], behind / 1000)
            }
            None => format!("Follows       {} batches read, not caught up yet", follow["batches"]),
        });
    }
    for (incarnation, why) in follow["stopped"].as_object().into_iter().flatten() {
        lines.push(format!("              log {incarnation} is not read on: {}", text(why)));
    }
    lines
}

/// What only the catalog holds, and where it is besides.
fn book_lines(book: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(at) = book["exported_at"].as_i64() {
        let placements = book["placements"].as_array().into_iter().flatten().map(text);
        let placements: Vec<&str> = placements.collect();
        lines.push(format!(
            "Book          exported at {} to {} as {}",
            Timestamp(at),
            placements.join(", "),
            text(&book["object"])
        ));
    }
    if let Some(at) = book["changed_at"].as_i64() {
        lines.push(format!("Book          changed, seen at {}, and not exported yet", Timestamp(at)));
    }
    if let Some(problem) = book["problem"].as_str() {
        lines.push(format!("              it is put off: {problem}"));
    }
    lines
}

/// The nodes of the site, where there are others.
fn node_lines(status: &Value) -> Vec<String> {
    let nodes: Vec<&Value> = status["nodes"].as_array().into_iter().flatten().collect();
    if nodes.len() < 2 {
        return Vec::new();
    }
    let line = |node: &&Value| {
        let is = |key: &str| node[key] == Value::Bool(true);
        let there = match (is("this"), is("present")) {
            (true, _) => "this one",
            (_, true) => "present",
            _ => "away",
        };
        format!("Node          {} {there}, holds {} alone", text(&node["node_id"]), node["held"])
    };
    nodes.iter().map(line).collect()
}

/// What is kept and not served.
fn copies_line(status: &Value) -> Option<String> {
    let kinds =
        [("variants", "in other wrapping"), ("conflicts", "with other content"), ("hidden", "hidden")];
    let some = kinds.iter().filter(|(key, _)| status[*key].as_u64().is_some_and(|count| count > 0));
    let told: Vec<String> = some.map(|(key, what)| format!("{} {what}", status[*key])).collect();
    (!told.is_empty()).then(|| format!("Kept beside   {}", told.join(", ")))
}

/// What a store was found to do; nothing of a folder.
fn placement_line(placement: &Value) -> Option<String> {
    let name = text(&placement["name"]);
    let Some(probe) = placement["probe"].as_object() else {
        return Some(format!("Placement     {name} has not answered yet"));
    };
    let found = probe["packs"].as_object()?;
    let words = [
        ("checks_sha256", "checks SHA-256"),
        ("checks_md5", "checks MD5"),
        ("honours_conditions", "does not replace objects"),
        ("keeps_versions", "keeps versions"),
        ("locks_objects", "locks objects"),
    ];
    let does = words.iter().filter(|(key, _)| found.get(*key) == Some(&Value::Bool(true)));
    let does: Vec<&str> = does.map(|(_, word)| *word).collect();
    Some(format!(
        "Placement     {name} {}",
        if does.is_empty() { "checks nothing".into() } else { does.join(", ") }
    ))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
