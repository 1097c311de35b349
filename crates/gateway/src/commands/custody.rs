//! `filmgate hold`, `delete`, `retention` and `repack`: what people decide about studies.

use clap::{Args, Subcommand};
use filmgate_model::{FactId, Timestamp};
use filmgate_pipeline::CustodyChange;
use serde_json::{Value, json};

use super::{
    SettingsFrom,
    local::{Local, there_or_here},
};
use crate::{build::Gateway, failure};

/// Milliseconds of a year of the calendar, on average.
const YEAR_MS: i64 = 31_556_952_000;

/// Whose settings, and who asks.
#[derive(Debug, Args)]
pub(super) struct Asking {
    #[command(flatten)]
    settings: SettingsFrom,
    /// Who you are: it is kept beside what you do.
    #[arg(long = "as", value_name = "NAME", env = "USER", default_value = "console")]
    who: String,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Which rows, and how they are shown.
#[derive(Debug, Args)]
pub(super) struct Listing {
    #[command(flatten)]
    pub(super) settings: SettingsFrom,
    /// Only of this study.
    #[arg(long, value_name = "UID")]
    pub(super) study: Option<String>,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArguments {
    #[command(subcommand)]
    what: HoldWhat,
}

#[derive(Debug, Subcommand)]
enum HoldWhat {
    /// Nothing of a study goes from now on, whoever asks and whatever was asked before.
    Place {
        #[command(flatten)]
        asking: Asking,
        /// The study.
        #[arg(value_name = "STUDY")]
        study: String,
        /// Why.
        #[arg(long)]
        why: String,
    },
    /// End a hold.
    Release {
        #[command(flatten)]
        asking: Asking,
        /// The hold, as the list names it.
        #[arg(value_name = "HOLD")]
        hold: FactId,
        /// Why.
        #[arg(long)]
        why: String,
    },
    /// Holds; those that stand first.
    List(Listing),
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(subcommand)]
    what: DeleteWhat,
}

#[derive(Debug, Subcommand)]
enum DeleteWhat {
    /// Ask for a deletion; nothing changes before it is confirmed.
    Request {
        #[command(flatten)]
        asking: Asking,
        /// The study.
        #[arg(value_name = "STUDY")]
        study: String,
        /// Only this instance, with every copy of it.
        #[arg(long, value_name = "UID")]
        instance: Option<String>,
        /// Why.
        #[arg(long)]
        why: String,
    },
    /// Mean it: hidden at once, gone when the grace is over.
    Confirm {
        #[command(flatten)]
        asking: Asking,
        /// The deletion, as the request or the list names it.
        #[arg(value_name = "DELETION")]
        deletion: FactId,
    },
    /// Take a deletion back.
    Cancel {
        #[command(flatten)]
        asking: Asking,
        /// The deletion, as the list names it.
        #[arg(value_name = "DELETION")]
        deletion: FactId,
        /// Why.
        #[arg(long)]
        why: String,
    },
    /// Deletions and where they stand, the latest first.
    List(Listing),
}

#[derive(Debug, Args)]
pub(crate) struct RetentionArguments {
    #[command(subcommand)]
    what: RetentionWhat,
}

#[derive(Debug, Subcommand)]
enum RetentionWhat {
    /// Keep a study longer than the site keeps all; it can be prolonged, not shortened.
    Set {
        #[command(flatten)]
        asking: Asking,
        /// The study.
        #[arg(value_name = "STUDY")]
        study: String,
        /// So many years from now.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        years: u32,
        /// Why.
        #[arg(long)]
        why: String,
    },
    /// Times set for single studies.
    List(Listing),
}

#[derive(Debug, Args)]
pub(crate) struct RepackArguments {
    #[command(flatten)]
    asking: Asking,
    /// The study whose packs are made anew.
    #[arg(long, value_name = "UID")]
    study: String,
    /// Under a new study key.
    #[arg(long)]
    new_key: bool,
}

pub(crate) fn hold(arguments: HoldArguments) -> anyhow::Result<u8> {
    match arguments.what {
        HoldWhat::Place { asking, study, why } => change(&asking, &CustodyChange::PlaceHold { study, why }),
        HoldWhat::Release { asking, hold, why } => change(&asking, &CustodyChange::ReleaseHold { hold, why }),
        HoldWhat::List(listing) => list(&listing, "holds", hold_line),
    }
}

pub(crate) fn delete(arguments: DeleteArguments) -> anyhow::Result<u8> {
    match arguments.what {
        DeleteWhat::Request { asking, study, instance, why } => {
            change(&asking, &CustodyChange::RequestDeletion { study, instance, why })
        }
        DeleteWhat::Confirm { asking, deletion } => {
            change(&asking, &CustodyChange::ConfirmDeletion { deletion })
        }
        DeleteWhat::Cancel { asking, deletion, why } => {
            change(&asking, &CustodyChange::CancelDeletion { deletion, why })
        }
        DeleteWhat::List(listing) => list(&listing, "deletions", deletion_line),
    }
}

pub(crate) fn retention(arguments: RetentionArguments) -> anyhow::Result<u8> {
    match arguments.what {
        RetentionWhat::Set { asking, study, years, why } => {
            let now = filmgate_model::Clock::system().now();
            let until = Timestamp(now.0.saturating_add(i64::from(years) * YEAR_MS));
            change(&asking, &CustodyChange::Retain { study, until, why })
        }
        RetentionWhat::List(listing) => list(&listing, "retentions", retention_line),
    }
}

pub(crate) fn repack(arguments: RepackArguments) -> anyhow::Result<u8> {
    let RepackArguments { asking, study, new_key } = arguments;
    change(&asking, &CustodyChange::Repack { study, new_key })
}

/// By the running gateway; without one, in the data directory itself.
pub(super) fn change(asking: &Asking, change: &CustodyChange) -> anyhow::Result<u8> {
    let settings = asking.settings.load()?;
    let there = |running: &Local| {
        let mut body = serde_json::to_value(change)?;
        body["as"] = json!(asking.who);
        running.post("/api/custody", &body)
    };
    let here = async |gateway: &Gateway| {
        let changed = gateway.road.change_custody(change, &asking.who).await.map_err(plainly)?;
        Ok(serde_json::to_value(changed)?)
    };
    let done = there_or_here(&settings, there, here)?;
    if asking.json {
        failure::print_json(&done);
    } else {
        failure::print(text(&done, "done"));
    }
    Ok(failure::DONE)
}

fn list(listing: &Listing, which: &str, line: fn(&Value) -> String) -> anyhow::Result<u8> {
    let settings = listing.settings.load()?;
    let there = |running: &Local| running.get(&of_study("/api/custody", listing.study.as_deref()));
    let here = async |gateway: &Gateway| {
        Ok(serde_json::to_value(gateway.road.show_custody(listing.study.as_deref()).await?)?)
    };
    let shown = there_or_here(&settings, there, here)?;
    if listing.json {
        failure::print_json(&shown[which]);
    } else {
        shown[which].as_array().into_iter().flatten().for_each(|row| failure::print(&line(row)));
    }
    Ok(failure::DONE)
}

/// Only what a UID may hold goes into the address.
pub(super) fn of_study(route: &str, study: Option<&str>) -> String {
    let plain = |character: &char| character.is_ascii_alphanumeric() || *character == '.';
    let only = study.map(|study| format!("?study={}", study.chars().filter(plain).collect::<String>()));
    format!("{route}{}", only.unwrap_or_default())
}

/// What stands against it says what to do; that it came by way of the catalog helps nobody.
fn plainly(error: filmgate_pipeline::Error) -> anyhow::Error {
    match error {
        filmgate_pipeline::Error::Catalog(error) if error.is_refusal() => error.into(),
        other => other.into(),
    }
}

fn hold_line(row: &Value) -> String {
    let of = |key| text(row, key);
    let placed = format!(
        "{} study {} since {} by {}: {}",
        of("hold"),
        of("study"),
        of("placed_at"),
        of("who"),
        of("why")
    );
    match of("released_at") {
        "" => placed,
        at => format!("{placed}; released {at} by {}: {}", of("released_by"), of("released_why")),
    }
}

fn retention_line(row: &Value) -> String {
    let of = |key| text(row, key);
    format!(
        "study {} until {}, set {} by {}: {}",
        of("study"),
        of("until"),
        of("set_at"),
        of("who"),
        of("why")
    )
}

fn deletion_line(row: &Value) -> String {
    let of = |key| text(row, key);
    let instance = match of("instance") {
        "" => String::new(),
        instance => format!(" instance {instance}"),
    };
    let mut line = format!(
        "{} study {}{instance} {}: {} of {} records gone; asked {} by {}: {}",
        of("deletion"),
        of("study"),
        of("step"),
        row["records_gone"],
        row["records"],
        of("requested_at"),
        of("who"),
        of("why"),
    );
    let more = [
        ("confirmed_at", format!("; confirmed {} by {}", of("confirmed_at"), of("confirmed_by"))),
        ("due_at", format!(", goes after {}", of("due_at"))),
        (
            "cancelled_at",
            format!("; cancelled {} by {}: {}", of("cancelled_at"), of("cancelled_by"), of("cancelled_why")),
        ),
        ("done_at", format!("; done {}", of("done_at"))),
        ("waits_for", format!("; waits: {}", of("waits_for"))),
        ("keys_gone_at", format!("; its keys given up {}", of("keys_gone_at"))),
        ("keys_wait_for", format!("; its keys wait: {}", of("keys_wait_for"))),
    ];
    more.iter().filter(|(key, _)| !of(key).is_empty()).for_each(|(_, told)| line += told);
    line
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
