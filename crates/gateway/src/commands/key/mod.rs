//! `filmgate key`: how the keys stand, their rotation, and the sheet that brings them back.

mod backup;
mod page;
mod shred;

use std::{cell::Cell, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use filmgate_keys::{Kek, Pkcs11Kek};
use filmgate_model::Random;
use filmgate_pipeline::Rotation;
use serde_json::{Value, json};

use super::{SettingsFrom, custody::Listing, local::Local, runtime};
use crate::{
    build::{self, Gateway},
    config::{KeyProvider, Settings, milliseconds},
    failure, kek,
};

const WRAPPED: &str = "wrapped anew; after keys.rotation_grace_ms end it with --finish";
const FINISHED: &str = "over: what was wrapped under the site key before is deleted";
/// How often a running gateway is asked how far it is.
const POLL_EVERY: Duration = Duration::from_millis(200);
/// A line of progress comes for so many keys.
const TELL_EVERY: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How the keys stand: who keeps the key of keys, until when what it opened is held.
    Status(Ask),
    /// The site keys there are; more than one while a rotation is under way.
    List(Ask),
    /// Make the key of keys that the settings name: in the token, or as a file.
    Make(Ask),
    /// Change the site key: every key is wrapped anew, no image is rewritten. It may be cut off anywhere and called again. A
    /// gateway that runs does it beside its work, and the other nodes of the site take it over; one node changes keys at a
    /// time. With --kek the gateway of this data directory is to be stopped.
    Rotate(Rotate),
    /// Destroy the keys of a study: it is deleted, and no copy of it anywhere opens again. Asked for here, and meant by
    /// `filmgate delete confirm`.
    Shred(shred::Shred),
    /// How far the destruction of keys is, study by study and place by place.
    Shredded(Listing),
    /// Write the recovery sheet: a page to print, which brings the site back when every machine is lost.
    Backup(backup::Backup),
    /// Type the printed sheet back, to see that it is right; the gateway asks for it until then.
    Confirm(backup::Typed),
    /// Bring the keys back from a printed sheet on an empty machine.
    Restore(backup::Typed),
}

#[derive(Debug, Args)]
struct Ask {
    #[command(flatten)]
    settings: SettingsFrom,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    ask: Ask,
    /// Change the key of keys instead: wrap the site key under the newest version of it, or under another.
    #[arg(long)]
    kek: bool,
    /// With --kek: the settings whose [keys] and node.key_file name the other key of keys.
    #[arg(long, value_name = "FILE", requires = "kek")]
    to: Option<PathBuf>,
    /// End the rotation: delete what is wrapped under the site key before.
    #[arg(long, conflicts_with = "kek")]
    finish: bool,
    /// With --finish: do not wait for keys.rotation_grace_ms.
    #[arg(long, requires = "finish")]
    now: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.what {
        What::Status(ask) => status(ask),
        What::List(ask) => list(ask),
        What::Make(ask) => make(ask),
        What::Rotate(rotate) => rotate_keys(rotate),
        What::Shred(asked) => shred::shred(asked),
        What::Shredded(listing) => shred::report(listing),
        What::Backup(asked) => backup::backup(asked),
        What::Confirm(typed) => backup::confirm(typed),
        What::Restore(typed) => backup::restore(typed),
    }
}

fn status(ask: &Ask) -> anyhow::Result<u8> {
    let settings = ask.settings.load()?;
    let status: Value = match Local::find(&settings)? {
        Some(gateway) => gateway.get("/api/status")?,
        None => runtime()?.block_on(async {
            let gateway = build::open(&settings).await?;
            Ok::<_, anyhow::Error>(serde_json::to_value(gateway.road.status().await?)?)
        })?,
    };
    let keys = &status["keys"];
    if ask.json {
        failure::print_json(keys);
        return Ok(failure::DONE);
    }
    failure::print(&format!("Key of keys  {}", keys["keeper"].as_str().unwrap_or_default()));
    failure::print(&format!("Site         {}", status["site_id"].as_str().unwrap_or_default()));
    let state = if keys["open"] == true { "open" } else { "locked: nothing is received" };
    failure::print(&format!("Keys         {state}"));
    match keys["sheet_confirmed_at"].as_i64() {
        Some(at) => failure::print(&format!("Sheet        confirmed at {}", filmgate_model::Timestamp(at))),
        None => {
            failure::print("Sheet        not confirmed: `filmgate key backup`, then `filmgate key confirm`")
        }
    }
    if let Some(reason) = keys["away_reason"].as_str() {
        failure::print(&format!("Away         {reason}"));
    }
    Ok(failure::DONE)
}

fn list(ask: &Ask) -> anyhow::Result<u8> {
    let settings = ask.settings.load()?;
    runtime()?.block_on(async {
        let gateway = open_alone(&settings).await?;
        for (number, made_at) in gateway.road.keys().site_key_numbers()? {
            if ask.json {
                failure::print_json(&json!({ "number": number, "made_at": made_at }));
            } else {
                failure::print(&format!("site key {number}, made at {made_at}"));
            }
        }
        Ok(failure::DONE)
    })
}

fn make(ask: &Ask) -> anyhow::Result<u8> {
    let settings = ask.settings.load()?;
    match settings.keys.provider {
        KeyProvider::File => drop(Kek::create_file(&settings.key_file(), &Random::system())?),
        KeyProvider::Pkcs11 => Pkcs11Kek::new(settings.keys.pkcs11.settings()).make_key()?,
        KeyProvider::Transit => bail!("make it at the server: `bao write -f transit/keys/NAME`"),
    }
    failure::print("made");
    Ok(failure::DONE)
}

fn rotate_keys(arguments: &Rotate) -> anyhow::Result<u8> {
    let settings = arguments.ask.settings.load()?;
    if !arguments.kek
        && let Some(running) = Local::find(&settings)?
    {
        return rotate_running(&running, arguments);
    }
    let other =
        arguments.to.as_ref().map(|path| crate::config::load(Some(path), std::iter::empty())).transpose()?;
    runtime()?.block_on(async {
        let gateway = open_alone(&settings).await?;
        if arguments.kek {
            return change_kek(&gateway, other.as_ref().unwrap_or(&settings), arguments.ask.json).await;
        }
        let (road, kek) = (&gateway.road, &gateway.kek);
        let told = progress(arguments.ask.json);
        if !arguments.finish {
            let rotation = road.rotate_site_key(kek, told).await?;
            tell(&rotation, arguments.ask.json, WRAPPED);
            return Ok(failure::DONE);
        }
        let grace = milliseconds(settings.keys.rotation_grace_ms);
        let rotation = road.finish_when_settled(kek, arguments.now, grace, told).await?;
        tell(&rotation, arguments.ask.json, FINISHED);
        Ok(failure::DONE)
    })
}

/// By the gateway that runs, beside all it does; this waits for the end.
fn rotate_running(running: &Local, arguments: &Rotate) -> anyhow::Result<u8> {
    running.post("/api/keys/rotation", &json!({ "finish": arguments.finish, "now": arguments.now }))?;
    let told = progress(arguments.ask.json);
    loop {
        let status = running.get("/api/status")?;
        let standing = &status["keys"]["rotation"];
        let count = |key: &str| standing["rotation"][key].as_u64().and_then(|count| count.try_into().ok());
        let count = |key: &str| count(key).unwrap_or_default();
        let rotation = Rotation {
            keys: count("keys"),
            done: count("done"),
            rewrapped: count("rewrapped"),
            deleted: count("deleted"),
        };
        if standing["under_way"] == true {
            told(rotation);
            std::thread::sleep(POLL_EVERY);
            continue;
        }
        if let Some(problem) = standing["problem"].as_str() {
            bail!("{problem}");
        }
        tell(&rotation, arguments.ask.json, if arguments.finish { FINISHED } else { WRAPPED });
        return Ok(failure::DONE);
    }
}

async fn change_kek(gateway: &Gateway, to: &Settings, json: bool) -> anyhow::Result<u8> {
    let kek = Arc::new(kek::existing_or_new(to, &Random::system())?);
    let object = gateway.road.change_kek(&kek).await?;
    let keeper = object.kek().to_string();
    if json {
        failure::print_json(
            &json!({ "event": "changed", "keeper": keeper, "generation": object.generation() }),
        );
    } else {
        failure::print(&format!(
            "The site key is wrapped under {keeper} now. Start every node with settings that name it."
        ));
    }
    Ok(failure::DONE)
}

/// Asks for the recovery sheet, until it was confirmed.
pub(crate) fn nag(road: &filmgate_pipeline::Road) {
    if let Some(notice) = road.sheet_notice() {
        tracing::warn!("{}", notice.detail);
        failure::eprint(&format!("filmgate: {}", notice.detail));
    }
}

/// The data directory is one process's at a time.
async fn open_alone(settings: &Settings) -> anyhow::Result<Gateway> {
    build::open(settings)
        .await
        .context("open the data directory (a gateway that runs on it is to be stopped first)")
}

/// Tells how far it came, now and then.
fn progress(json: bool) -> impl Fn(Rotation) {
    let next = Cell::new(0);
    move |rotation| {
        if rotation.done >= next.get() {
            next.set(rotation.done + TELL_EVERY);
            tell(&rotation, json, "under way");
        }
    }
}

fn tell(rotation: &Rotation, json: bool, how: &str) {
    if json {
        failure::print_json(&json!({ "event": how.split(' ').next(), "rotation": rotation }));
    } else {
        let Rotation { keys, done, rewrapped, deleted } = rotation;
        failure::print(&format!(
            "{done} of {keys} keys, {rewrapped} wrapped anew, {deleted} earlier ones deleted: {how}"
        ));
    }
}
