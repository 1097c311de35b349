//! `filmgate rebuild`.

use std::time::Instant;

use anyhow::bail;
use clap::Args;
use filmgate_pipeline::RebuildProgress;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{SettingsFrom, local, runtime};
use crate::{build, failure, logging, site};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFrom,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs beside no gateway: it empties what the catalog derives, and fills it again.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    logging::start(&settings.log)?;
    local::refuse_running(&settings)?;
    let bar = bar(arguments.json);
    let began = Instant::now();
    let rebuilt = runtime()?.block_on(async {
        site::refuse_new(&settings).await?;
        let gateway = build::open_unsettled(&settings).await?;
        if let Some(node) = gateway.road.nodes().await?.iter().find(|node| !node.this && node.present) {
            bail!(
                "node {} works with the same catalog, and what it has not uploaded would be forgotten: stop it, wait \
                 until it counts as absent (peers.absent_after_ms), and start it again afterwards",
                node.node_id
            );
        }
        let rebuilt = gateway.road.rebuild(|progress| show(&bar, progress)).await?;
        Ok::<_, anyhow::Error>(rebuilt)
    })?;
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        let mut answer = serde_json::to_value(&rebuilt)?;
        answer["seconds"] = json!(seconds);
        failure::print_json(&answer);
    } else {
        for problem in &rebuilt.problems {
            failure::print(problem);
        }
        failure::print(&format!(
            "{} instances of {} packs, {} of them in no log, in {seconds:.1} s ({:.0} instances/s).",
            rebuilt.instances,
            rebuilt.packs + rebuilt.packs_unnamed,
            rebuilt.packs_unnamed,
            rebuilt.instances as f64 / seconds.max(0.001)
        ));
        failure::print(&match rebuilt.books {
            0 => "No export of the book was there: users, tokens and rules of callers are to be set again."
                .to_owned(),
            books => format!("Users, tokens, rules of callers and alarms of {books} exports of the book."),
        });
    }
    Ok(if rebuilt.problems.is_empty() { failure::DONE } else { failure::SOME_FAILED })
}

fn bar(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} packs, {msg} instances, {eta} left");
    let bar = ProgressBar::new(0);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show(bar: &ProgressBar, progress: RebuildProgress) {
    bar.set_length(progress.packs);
    bar.set_position(progress.packs_done);
    bar.set_message(progress.instances.to_string());
}
