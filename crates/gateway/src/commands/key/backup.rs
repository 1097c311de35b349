//! `filmgate key backup | confirm | restore`: the recovery sheet is printed, typed back once, and brings the keys back on an
//! empty machine.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Args;
use filmgate_keys::{KeyRing, Sheet};
use filmgate_model::{Clock, Random};
use filmgate_spool::RealDisk;
use zeroize::Zeroizing;

use super::page::{self, Page};
use crate::{
    build,
    commands::{SettingsFrom, runtime},
    config::Settings,
    data_dir, failure, kek, site,
};

/// Nobody types more.
const TYPED_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    settings: SettingsFrom,
    /// Where to write the page (HTML); it holds the secret: print it, then delete it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the sheet says it is of, such as the hospital's name.
    #[arg(long, default_value = "")]
    name: String,
    /// Seal the sheet under the passphrase in this file: then both are needed.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Typed {
    #[command(flatten)]
    settings: SettingsFrom,
    /// The lines of the sheet as typed or scanned; without it they are read from standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The passphrase, for a sheet sealed under one.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Typed {
    fn sheet(&self) -> anyhow::Result<Sheet> {
        let mut text = Zeroizing::new(String::new());
        match &self.from {
            Some(path) => {
                let file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
                file.take(TYPED_BYTES_MAX).read_to_string(&mut text).context("read the sheet")?
            }
            None => {
                std::io::stdin().take(TYPED_BYTES_MAX).read_to_string(&mut text).context("read the sheet")?
            }
        };
        if self.passphrase_file.is_none() && Sheet::needs_passphrase(&text)? {
            bail!("this sheet is sealed under a passphrase: give it with --passphrase-file");
        }
        Ok(Sheet::of_lines(
            &text,
            passphrase(self.passphrase_file.as_deref())?.as_ref().map(|text| text.as_str()),
        )?)
    }
}

pub(super) fn backup(arguments: &Backup) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let (ring, kek) = open_beside(&settings)?;
    let passphrase = passphrase(arguments.passphrase_file.as_deref())?;
    let sheet = ring.sheet(&kek)?;
    let lines = Zeroizing::new(sheet.lines(passphrase.as_ref().map(|text| text.as_str()), &Random::system()));
    let page = Page {
        name: &arguments.name,
        site_id: ring.site_id(),
        made_at: Clock::system().now(),
        buckets: settings.bucket.keys().map(String::as_str).collect(),
        has_passphrase: passphrase.is_some(),
        lines: &lines,
    };
    let html = Zeroizing::new(page::render(&page)?);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arguments.out);
    let mut file = file.with_context(|| format!("write {}", arguments.out.display()))?;
    file.write_all(html.as_bytes())?;
    file.sync_all()?;
    failure::print(&format!(
        "{} holds the secret: print it, delete it, keep the paper in a safe. Then type it back with `filmgate key \
         confirm`: until then it is asked for.",
        arguments.out.display()
    ));
    Ok(failure::DONE)
}

/// A sheet that was never read back is a hope.
pub(super) fn confirm(arguments: &Typed) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let (ring, kek) = open_beside(&settings)?;
    let sheet = arguments.sheet()?;
    if !ring.is_restored_by(&sheet, &kek)? {
        bail!(
            "the sheet is right, but it is of another site or of a key that was changed since: make a new one"
        );
    }
    ring.confirm_sheet(&kek)?;
    failure::print("The recovery sheet brings this site back.");
    Ok(failure::DONE)
}

pub(super) fn restore(arguments: &Typed) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let sheet = arguments.sheet()?;
    if let Some(key) = sheet.key_file() {
        key.save(&settings.key_file())?;
        failure::print(&format!("{} is back.", settings.key_file().display()));
    }
    runtime()?.block_on(async {
        let _held = data_dir::DataDir::take(&settings.node.data_dir)?;
        let folder = settings.node.data_dir.join("keys");
        if KeyRing::exists(&RealDisk, &folder)? {
            failure::print("This data directory has its keys.");
            return Ok(failure::DONE);
        }
        if sheet.key_file().is_some() {
            failure::print("`filmgate serve` now joins the site of the bucket; `filmgate rebuild` brings back what it knew.");
            return Ok(failure::DONE);
        }
        let placements = build::open_placements(&settings)?;
        let generation = site::newest_generation(&placements, sheet.site_id).await?;
        let kek = kek::existing_or_new(&settings, &Random::system())?;
        let (clock, random) = (Clock::system(), Random::system());
        let ring =
            KeyRing::restore(Arc::new(RealDisk), &folder, &kek, &sheet, generation + 1, &clock, &random)?;
        failure::print(&format!("The keys of site {} are back.", ring.site_id()));
        Ok(failure::DONE)
    })
}

/// The keys, beside a gateway that may be running: nothing is changed.
fn open_beside(settings: &Settings) -> anyhow::Result<(KeyRing, filmgate_keys::Kek)> {
    let kek = kek::existing(settings)?;
    let folder = settings.node.data_dir.join("keys");
    let ring = KeyRing::open(Arc::new(RealDisk), &folder, &kek, &Clock::system(), &Random::system())?;
    Ok((ring, kek))
}

fn passphrase(path: Option<&Path>) -> anyhow::Result<Option<Zeroizing<String>>> {
    let Some(path) = path else { return Ok(None) };
    let text = Zeroizing::new(fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?);
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() < 8 {
        bail!("the passphrase in {} is shorter than 8 characters", path.display());
    }
    Ok(Some(Zeroizing::new(line.to_owned())))
}
