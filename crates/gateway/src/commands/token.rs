//! `filmgate token` and `filmgate set-up`: who may use the web door.

use std::{io::IsTerminal, time::Duration};

use anyhow::Context;
use clap::{Args, Subcommand};
use filmgate_web::{Grant, NewToken};
use serde_json::{Value, json};

use super::{
    SettingsFrom, ae,
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
    /// Make a token; it is shown this once.
    Create(Create),
    /// Every token there is or was, but for the tokens themselves.
    List(List),
    /// Make a token good for nothing, at once.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[group(skip)]
struct Create {
    #[command(flatten)]
    settings: SettingsFrom,
    /// What it is for: the viewer of the ward, say.
    name: String,
    /// read, store, operate or admin, or read:UID for a single study; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Grant>,
    /// For how long it is good, such as 90d.
    #[arg(long = "for", value_name = "TIME", value_parser = ae::length, default_value = "365d")]
    lifetime: Duration,
    /// It is good for ever.
    #[arg(long, conflicts_with = "lifetime")]
    forever: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
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
struct Revoke {
    #[command(flatten)]
    settings: SettingsFrom,
    /// Its name.
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct SetUp {
    #[command(flatten)]
    settings: SettingsFrom,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.what {
        What::Create(create) => make(create),
        What::List(list) => show(list),
        What::Revoke(revoke) => end(revoke),
    }
}

/// Through the running gateway; without one, in the data directory.
fn make(create: &Create) -> anyhow::Result<u8> {
    let settings = create.settings.load()?;
    let lifetime_ms = u64::try_from(create.lifetime.as_millis()).context("that is too long")?;
    let new = NewToken {
        name: create.name.clone(),
        scopes: create.scopes.clone(),
        lifetime_ms: (!create.forever).then_some(lifetime_ms),
    };
    let there = |gateway: &Local| gateway.post("/api/tokens", &serde_json::to_value(&new)?);
    let here = async |gateway: &Gateway| Ok(json!(gateway.users.create_token(&new, "command line").await?));
    let made = there_or_here(&settings, there, here)?;
    if create.json {
        failure::print_json(&made);
    } else {
        let token = made["token"].as_str().unwrap_or_default();
        failure::print(token);
        failure::eprint("This is the only time it is shown. It is brought as: Authorization: Bearer …");
        // The link repeats the token: for eyes alone, not for whatever keeps what is said here.
        if std::io::stderr().is_terminal()
            && let Some(gateway) = Local::find(&settings)?
        {
            failure::eprint(&format!("In a browser, from this machine: {}/login#{token}", gateway.base()));
        }
    }
    Ok(failure::DONE)
}

fn show(list: &List) -> anyhow::Result<u8> {
    let settings = list.settings.load()?;
    let here = async |gateway: &Gateway| Ok(json!(gateway.users.tokens().await?));
    let tokens = there_or_here(&settings, |gateway| gateway.get("/api/tokens"), here)?;
    if list.json {
        failure::print_json(&tokens);
        return Ok(failure::DONE);
    }
    for token in tokens.as_array().into_iter().flatten() {
        failure::print(&line(token));
    }
    Ok(failure::DONE)
}

fn line(token: &Value) -> String {
    let text = |key: &str| token[key].as_str().unwrap_or("never").to_owned();
    let state = match token["revoked_at"].as_str() {
        Some(at) => format!("revoked {at}"),
        None => format!("good until {}", token["expires_at"].as_str().unwrap_or("revoked")),
    };
    format!("{:<24} {:<24} {state}, last used {}", text("name"), text("scope"), text("last_used_at"))
}

fn end(revoke: &Revoke) -> anyhow::Result<u8> {
    let settings = revoke.settings.load()?;
    let there = |gateway: &Local| {
        gateway.post("/api/tokens/revoke", &json!({ "name": revoke.name }))?;
        Ok(())
    };
    let here = async |gateway: &Gateway| Ok(gateway.users.revoke_token(&revoke.name, "command line").await?);
    there_or_here(&settings, there, here)?;
    failure::print(&format!("{} is good for nothing any more", revoke.name));
    Ok(failure::DONE)
}

/// A new link to set the administrator's password.
pub(crate) fn set_up(arguments: &SetUp) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let gateway = Local::find(&settings)?
        .context("no gateway runs on this data directory; start it with `filmgate serve`")?;
    let made = gateway.post("/api/set-up-link", &Value::Null)?;
    failure::print(&link(gateway.base(), made["secret"].as_str().unwrap_or_default()));
    Ok(failure::DONE)
}

/// The secret stands where a browser keeps it to itself.
pub(crate) fn link(base: &str, secret: &str) -> String {
    format!("{base}/set-up#{secret}")
}
