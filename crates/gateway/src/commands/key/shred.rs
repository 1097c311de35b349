//! `filmgate key shred | shredded`: the keys of a study are destroyed, and where they are.

use clap::Args;
use filmgate_pipeline::CustodyChange;
use serde_json::Value;

use crate::{
    build,
    commands::{
        custody::{self, Asking, Listing, of_study},
        local::Local,
        runtime,
    },
    failure,
};

#[derive(Debug, Args)]
pub(super) struct Shred {
    #[command(flatten)]
    asking: Asking,
    /// The study.
    #[arg(long, value_name = "UID")]
    study: String,
    /// Why.
    #[arg(long)]
    why: String,
}

/// The first of two steps: nothing changes before it is confirmed.
pub(super) fn shred(asked: &Shred) -> anyhow::Result<u8> {
    let (study, why) = (asked.study.clone(), asked.why.clone());
    custody::change(&asked.asking, &CustodyChange::RequestShredding { study, why })
}

/// Place by place: done, or not done and why.
pub(super) fn report(listing: &Listing) -> anyhow::Result<u8> {
    let settings = listing.settings.load()?;
    let study = listing.study.as_deref();
    let shown: Value = match Local::find(&settings)? {
        Some(running) => running.get(&of_study("/api/shredded", study))?,
        None => runtime()?.block_on(async {
            let gateway = build::open(&settings).await?;
            Ok::<_, anyhow::Error>(serde_json::to_value(gateway.road.show_shredded(study).await?)?)
        })?,
    };
    if listing.json {
        failure::print_json(&shown);
        return Ok(failure::DONE);
    }
    let studies = shown.as_array().into_iter().flatten();
    if studies.clone().next().is_none() {
        failure::print("No key was shredded.");
    }
    studies.flat_map(lines).for_each(|line| failure::print(&line));
    Ok(failure::DONE)
}

fn lines(study: &Value) -> Vec<String> {
    let of_study = match text(study, "study") {
        "" => "keys of which another node's log knows".to_owned(),
        uid => format!("study {uid}"),
    };
    let done = if study["done"] == true { "done" } else { "NOT DONE" };
    let mut lines = vec![format!("{of_study}: {done}")];
    lines
        .extend(rows(study, "waits_for").map(|why| format!("  waits: {}", why.as_str().unwrap_or_default())));
    for key in rows(study, "keys") {
        let (id, since) = (text(key, "key"), text(key, "since"));
        lines.push(format!("  key {id} since {since} by {}: {}", text(key, "who"), text(key, "why")));
        lines.extend(rows(key, "places").map(place_line));
    }
    lines
}

fn place_line(place: &Value) -> String {
    let name = text(place, "place");
    match text(place, "done_at") {
        "" => format!("    {name}: NOT DONE: {}", text(place, "why")),
        at => format!("    {name}: done {at}"),
    }
}

fn rows<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
