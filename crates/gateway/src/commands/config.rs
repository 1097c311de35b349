//! `filmgate config`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::SettingsFrom;
use crate::failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read the settings and say what is wrong with them.
    Check(Show),
    /// Show every setting as it holds.
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    settings: SettingsFrom,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.what {
        What::Check(show) => {
            show.settings.load()?;
            if show.json {
                failure::print_json(&json!({"ok": true}));
            } else {
                failure::print("The settings are in order.");
            }
        }
        What::Show(show) => {
            let settings = show.settings.load()?;
            if show.json {
                failure::print_json(&serde_json::to_value(&settings)?);
            } else {
                failure::print(toml::to_string_pretty(&settings)?.trim_end());
            }
        }
    }
    Ok(failure::DONE)
}
