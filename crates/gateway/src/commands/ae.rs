//! `filmgate ae`: who may associate.

use std::time::Duration;

use clap::{Args, Subcommand};
use filmgate_model::AeTitle;
use filmgate_pipeline::CallerChange;
use serde_json::{Value, json};

use super::{
    SettingsFrom,
    local::{Local, there_or_here},
};
use crate::{build::Gateway, failure};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Rules, and callers that wait for a decision.
    List(List),
    /// Let a caller in, under the conditions given.
    Allow(Allow),
    /// Keep a caller out.
    Deny(Title),
    /// Drop a caller's rule and what is remembered of it.
    Forget(Title),
    /// Let unknown callers in for a while and remember them; `ae allow --learned` then lets them in for good.
    Learn(Learn),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    settings: SettingsFrom,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
struct Allow {
    #[command(flatten)]
    settings: SettingsFrom,
    /// The calling AE title.
    #[arg(value_name = "AET", required_unless_present = "learned")]
    calling_ae: Option<AeTitle>,
    /// Everyone that was let in while the door was learning.
    #[arg(long, conflicts_with_all = ["calling_ae", "from", "called", "fingerprint", "common_name", "associations_max"])]
    learned: bool,
    /// Only from this network or address; may be given several times.
    #[arg(long, value_name = "NETWORK")]
    from: Vec<String>,
    /// Only when it calls this AE title.
    #[arg(long, value_name = "AET")]
    called: Option<AeTitle>,
    /// Only over TLS with this certificate: its SHA-256.
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// Only over TLS with a certificate for this common name.
    #[arg(long, value_name = "NAME")]
    common_name: Option<String>,
    /// So many associations at a time.
    #[arg(long, value_name = "N", default_value_t = 0)]
    associations_max: u32,
}

#[derive(Debug, Args)]
struct Title {
    #[command(flatten)]
    settings: SettingsFrom,
    /// The calling AE title.
    #[arg(value_name = "AET")]
    calling_ae: AeTitle,
}

#[derive(Debug, Args)]
#[group(skip)]
struct Learn {
    #[command(flatten)]
    settings: SettingsFrom,
    /// For how long, such as 30m, 1h or 2d.
    #[arg(long = "for", value_name = "TIME", value_parser = length, required_unless_present = "off")]
    length: Option<Duration>,
    /// No longer.
    #[arg(long, conflicts_with = "length")]
    off: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.what {
        What::List(list) => show(list),
        What::Allow(allow) => change(&allow.settings, &allow_of(allow)),
        What::Deny(Title { settings, calling_ae }) => {
            change(settings, &CallerChange::Deny { calling_ae: calling_ae.clone() })
        }
        What::Forget(Title { settings, calling_ae }) => {
            change(settings, &CallerChange::Forget { calling_ae: calling_ae.clone() })
        }
        What::Learn(learn) => {
            let for_ms = learn.length.unwrap_or_default().as_millis();
            change(
                &learn.settings,
                &CallerChange::Learn { for_ms: u64::try_from(for_ms).unwrap_or(u64::MAX) },
            )
        }
    }
}

fn allow_of(allow: &Allow) -> CallerChange {
    match &allow.calling_ae {
        None => CallerChange::Learned,
        Some(calling_ae) => CallerChange::Allow {
            calling_ae: calling_ae.clone(),
            addresses: allow.from.clone(),
            called_ae: allow.called.clone(),
            fingerprint: allow.fingerprint.clone(),
            common_name: allow.common_name.clone().unwrap_or_default(),
            associations_max: allow.associations_max,
        },
    }
}

fn change(settings: &SettingsFrom, change: &CallerChange) -> anyhow::Result<u8> {
    let settings = settings.load()?;
    let there = |gateway: &Local| {
        let answer = gateway.post("/api/ae", &serde_json::to_value(change)?)?;
        Ok(answer["done"].as_str().unwrap_or_default().to_owned())
    };
    let here = async |gateway: &Gateway| Ok(gateway.callers.change(change, "command line").await?);
    let done = there_or_here(&settings, there, here)?;
    failure::print(&done);
    Ok(failure::DONE)
}

fn show(list: &List) -> anyhow::Result<u8> {
    let settings = list.settings.load()?;
    let here = async |gateway: &Gateway| Ok(json!(gateway.callers.show().await?));
    let shown = there_or_here(&settings, |gateway| gateway.get("/api/ae"), here)?;
    if list.json {
        failure::print_json(&shown);
    } else {
        failure::print(&page(&shown));
    }
    Ok(failure::DONE)
}

/// The list for a person at a terminal.
fn page(shown: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    if shown["accept_unknown"] == true {
        lines.push("Every caller is let in (dicom.accept_unknown_callers).".to_owned());
    }
    if let Some(until) = shown["learning_until"].as_str() {
        lines.push(format!("Learning: unknown callers are let in until {until}."));
    }
    for rule in rows(&shown["rules"]) {
        let word = if rule["allowed"] == true { "allowed" } else { "denied" };
        lines.push(format!("{word:<8} {:<16} {}", text(&rule["calling_ae"]), conditions(&rule)));
    }
    for known in rows(&shown["known"]) {
        lines.push(format!("settings {:<16} (dicom.known_callers)", text(&known)));
    }
    for caller in rows(&shown["waiting"]) {
        lines.push(format!(
            "waiting  {:<16} from {}, {} times refused, {} let in, last {} {}",
            text(&caller["calling_ae"]),
            text(&caller["address"]),
            caller["refused"],
            caller["let_in"],
            text(&caller["last_at"]),
            text(&caller["reason"]),
        ));
    }
    if lines.is_empty() {
        lines.push(
            "No caller is known: every association is refused until `filmgate ae allow AET`.".to_owned(),
        );
    }
    lines.join("\n")
}

fn conditions(rule: &Value) -> String {
    let mut conditions = Vec::new();
    for address in rule["addresses"].as_array().into_iter().flatten() {
        conditions.push(format!("from {}", address.as_str().unwrap_or_default()));
    }
    for (key, word) in
        [("called_ae", "calling"), ("common_name", "certificate of"), ("fingerprint", "certificate")]
    {
        if let Some(value) = rule[key].as_str().filter(|value| !value.is_empty()) {
            conditions.push(format!("{word} {value}"));
        }
    }
    if let Some(max @ 1..) = rule["associations_max"].as_u64() {
        conditions.push(format!("{max} associations at a time"));
    }
    conditions.join(", ")
}

/// A length of time with its unit.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no length of time: write 90s, 30m, 1h or 2d");
    let unit = text.chars().next_back().ok_or_else(refused)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(refused()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| refused())?;
    count.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(length("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(length("90s"), Ok(Duration::from_secs(90)));
        for text in ["", "1", "h", "0h", "-1h", "1x", "1小", "99999999999999999999d"] {
            assert!(length(text).is_err(), "{text:?}");
        }
    }
}
