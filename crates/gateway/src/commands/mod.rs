//! What the command line offers.

mod adopt;
mod ae;
mod config;
mod custody;
mod demo;
mod export;
mod key;
mod local;
mod pixel_worker;
mod rebuild;
mod send;
mod serve;
mod status;
mod token;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config::Settings, failure};

/// A DICOM imaging cloud gateway: receives, seals, uploads, verifies and gives back.
#[derive(Debug, Parser)]
#[command(name = "filmgate", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway: the DICOM door, the web door and everything between.
    Serve(serve::Arguments),
    /// Show it all at once: a gateway on a folder of its own that receives the sample studies.
    Demo(demo::Arguments),
    /// Send DICOM files by C-STORE.
    Send(send::Arguments),
    /// How the gateway stands.
    Status(status::Arguments),
    /// Write instances out as Part 10 files.
    Export(export::Arguments),
    /// Make the catalog again from buckets and keys: on an empty machine, or after the catalog was lost.
    Rebuild(rebuild::Arguments),
    /// Take over from a node that is dead: its data directory, or what it had verified when that is lost.
    Adopt(adopt::Arguments),
    /// Check that everything stored opens.
    Verify(verify::Arguments),
    /// The keys: how they stand, rotation.
    Key(key::Arguments),
    /// Who may associate.
    Ae(ae::Arguments),
    /// Tokens of the web door.
    Token(token::Arguments),
    /// Make a link to set the administrator's password.
    SetUp(token::SetUp),
    /// Keep a study from being deleted, until that is released.
    Hold(custody::HoldArguments),
    /// Delete a study or an instance: asked for, confirmed, hidden, and gone after a grace.
    Delete(custody::DeleteArguments),
    /// Keep single studies longer than the site keeps all.
    Retention(custody::RetentionArguments),
    /// Make the packs of a study anew.
    Repack(custody::RepackArguments),
    /// Show or check the settings.
    Config(config::Arguments),
    /// Decode and encode pixels for the gateway, which starts this itself.
    #[command(hide = true)]
    PixelWorker(pixel_worker::Arguments),
}

/// Where settings come from.
#[derive(Debug, Args)]
pub(crate) struct SettingsFrom {
    /// Configuration file; without one the defaults and the environment hold.
    #[arg(long, value_name = "FILE", env = "FILMGATE_CONFIG")]
    config: Option<PathBuf>,
}

impl SettingsFrom {
    pub(crate) fn load(&self) -> Result<Settings, crate::config::Error> {
        crate::config::load(self.config.as_deref(), std::env::vars())
    }
}

/// Runs the command; the exit code is the process's.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let code = match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Rebuild(arguments) => rebuild::run(&arguments),
        Command::Adopt(arguments) => adopt::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Ae(arguments) => ae::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::SetUp(arguments) => token::set_up(&arguments),
        Command::Hold(arguments) => custody::hold(arguments),
        Command::Delete(arguments) => custody::delete(arguments),
        Command::Retention(arguments) => custody::retention(arguments),
        Command::Repack(arguments) => custody::repack(arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::PixelWorker(arguments) => pixel_worker::run(&arguments),
    };
    code.map_or_else(|error| failure::report(&error), ExitCode::from)
}

/// A runtime for commands that open the data directory themselves.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
