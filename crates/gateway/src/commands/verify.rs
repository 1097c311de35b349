//! `filmgate verify`.

use clap::Args;
use serde_json::Value;

use super::{
    SettingsFrom,
    local::{Local, there_or_here},
};
use crate::{build::Gateway, failure};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFrom,
    /// Open every byte and compare every dataset with its digest.
    #[arg(long)]
    deep: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let there = |gateway: &Local| gateway.post(&format!("/api/verify?deep={}", arguments.deep), &Value::Null);
    let here =
        async |gateway: &Gateway| Ok(serde_json::to_value(gateway.road.verify_all(arguments.deep).await?)?);
    let report = there_or_here(&settings, there, here)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    if arguments.json {
        failure::print_json(&report);
    } else {
        for finding in &findings {
            let text = |key: &str| finding[key].as_str().unwrap_or_default();
            failure::print(&format!("record {} ({}): {}", text("record_id"), text("state"), text("problem")));
        }
        failure::print(&format!(
            "{} records looked at, {} with a problem.",
            report["records"],
            findings.len()
        ));
    }
    Ok(if findings.is_empty() { failure::DONE } else { failure::SOME_FAILED })
}
