//! `cargo xtask viewer`: the image viewer, OHIF, made ready to be served by the gateway under `/ohif/`.
//!
//! The published build is fetched by npm at one pinned version and hash, changed as `prepare` says, minified,
//! compressed, and listed in a manifest by which the gateway knows every file of it.

mod manifest;
mod prepare;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use sha2::{Digest, Sha256, Sha512};

use crate::install;
use crate::run::{command, run, target_dir};

const PACKAGE: &str = "@ohif/app";
const VERSION: &str = "3.13.2";
/// SHA-512 of the package, as npm writes it.
const INTEGRITY: &str =
    "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==";

/// Everything that makes the result what it is: another text is another preparation.
const MADE_BY: [&str; 6] = [
    include_str!("prepare.rs"),
    include_str!("manifest.rs"),
    include_str!("compress.mjs"),
    include_str!("boot.js"),
    include_str!("tools/package-lock.json"),
    INTEGRITY,
];
const COMPRESS: &str = include_str!("compress.mjs");
const TOOLS: [(&str, &str); 2] = [
    ("package.json", include_str!("tools/package.json")),
    ("package-lock.json", include_str!("tools/package-lock.json")),
];

#[derive(Args)]
pub(crate) struct Viewer {
    /// Prepare it again, even when it is there
    #[arg(long)]
    again: bool,
}

impl Viewer {
    pub(crate) fn run(&self) -> Result<()> {
        if self.again && folder().exists() {
            fs::remove_dir_all(folder()).context("remove the prepared viewer")?;
        }
        let folder = prepared()?;
        println!("the viewer is ready; serve it with FILMGATE__VIEWER__PATH={}", folder.display());
        Ok(())
    }
}

/// The prepared viewer, made when it is not there yet or was made otherwise.
pub(crate) fn prepared() -> Result<PathBuf> {
    let (folder, made_by) = (folder(), made_by());
    if manifest::is_made_by(&folder, &made_by) {
        println!("present: viewer {}", folder.display());
        return Ok(folder);
    }
    println!("missing: viewer (OHIF {VERSION} shows images in the browser), preparing {}", folder.display());
    install::viewer_tools()?;
    let package = fetch()?;
    let esbuild = esbuild()?;
    let work = base().join("work");
    empty(&work)?;
    run(command("tar").arg("-xzf").arg(&package).arg("-C").arg(&work))?;
    let dist = work.join("package/dist");
    prepare::all(&dist)?;
    minify(&esbuild, &dist)?;
    fs::copy(work.join("package/LICENSE"), dist.join("LICENSE.txt")).context("keep the licence")?;
    compress(&dist)?;
    manifest::write(&dist, VERSION, &made_by)?;
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove the viewer that was made otherwise")?;
    }
    fs::rename(&dist, &folder).context("put the viewer in its place")?;
    fs::remove_dir_all(&work).context("remove what the viewer was made from")?;
    Ok(folder)
}

fn base() -> PathBuf {
    // Wherever cargo is told to build, a program that is started there finds it.
    let target = target_dir();
    let target = if target.is_absolute() { target } else { crate::run::root().join(target) };
    target.join("viewer")
}

fn folder() -> PathBuf {
    base().join(VERSION)
}

fn made_by() -> String {
    let digest = Sha256::digest(MADE_BY.join("\0").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))
}

/// The package's file, fetched unless it is there, and in any case the one that is pinned.
fn fetch() -> Result<PathBuf> {
    let downloads = base().join("download");
    fs::create_dir_all(&downloads).context("make the folder of downloads")?;
    let file = downloads.join(format!("{}-{VERSION}.tgz", PACKAGE.trim_start_matches('@').replace('/', "-")));
    if file.exists() && check(&file).is_ok() {
        return Ok(file);
    }
    let name = format!("{PACKAGE}@{VERSION}");
    run(command("npm")
        .args(["pack", "--silent", "--ignore-scripts", &name])
        .arg("--pack-destination")
        .arg(&downloads))
    .context("fetch the viewer from the npm registry")?;
    check(&file)?;
    Ok(file)
}

fn check(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let found = STANDARD.encode(Sha512::digest(&bytes));
    ensure!(
        found == INTEGRITY,
        "{} is not {PACKAGE} {VERSION} as it was pinned: its SHA-512 is {found}, expected {INTEGRITY}",
        file.display()
    );
    Ok(())
}

/// The minifier, installed by its lock file, whose hashes npm checks.
fn esbuild() -> Result<PathBuf> {
    let tools = base().join("tools");
    fs::create_dir_all(&tools).context("make the folder of tools")?;
    for (name, text) in TOOLS {
        fs::write(tools.join(name), text).with_context(|| format!("write {name}"))?;
    }
    install::npm_packages(&tools)?;
    Ok(tools.join("node_modules/.bin/esbuild"))
}

/// The bundles are published as they are written; less than half of it is needed.
fn minify(esbuild: &Path, dist: &Path) -> Result<()> {
    let bundles = prepare::bundles(dist)?;
    let paths = bundles.iter().map(|bundle| bundle.as_os_str().to_owned());
    let options = ["--minify", "--legal-comments=eof", "--allow-overwrite", "--log-level=error"];
    let mut outdir = OsString::from("--outdir=");
    outdir.push(dist);
    let status = command(esbuild).args(paths).args(options).arg(outdir).status().context("start esbuild")?;
    if !status.success() {
        bail!("esbuild ended with {status}");
    }
    println!("minified {} bundles", bundles.len());
    Ok(())
}

fn compress(dist: &Path) -> Result<()> {
    let script = base().join("work/compress.mjs");
    fs::write(&script, COMPRESS).context("write the script that compresses")?;
    let files = manifest::files(dist)?;
    let wanted = files.iter().filter(|file| manifest::content_type(file).is_some_and(|(_, text)| text));
    let list: Vec<String> = wanted.map(|file| file.display().to_string()).collect();
    let mut node = command("node").arg(&script).stdin(Stdio::piped()).spawn().context("start node")?;
    if let Some(mut input) = node.stdin.take() {
        input.write_all(list.join("\n").as_bytes()).context("say which files to compress")?;
    }
    let status = node.wait().context("wait for node")?;
    ensure!(status.success(), "compressing ended with {status}");
    println!("compressed {} files", list.len());
    Ok(())
}
