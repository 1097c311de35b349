//! `cargo xtask mutations`: each patch of `tests/mutations/` takes one guarantee away; the simulator must notice.
//!
//! All patches share one worktree and one target folder, so that each costs the rebuild of what it touches.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::run::{command, root, run, succeeds};

/// Exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

#[derive(Args)]
pub(crate) struct Mutations {
    /// Seeds tried per mutation before it counts as unnoticed
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Only the patches whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// What became of one mutation.
struct Verdict {
    name: String,
    noticed: bool,
    why: String,
}

impl Mutations {
    pub(crate) fn run(&self) -> Result<()> {
        let patches = patches(&self.only)?;
        let _alone = alone()?;
        let tree = fresh_worktree()?;
        let intact = self.simulate(&tree)?;
        if !intact.0 {
            bail!("the simulation fails without any mutation: {}", intact.1);
        }
        let verdicts: Result<Vec<Verdict>> =
            patches.iter().map(|patch| self.try_patch(&tree, patch)).collect();
        remove_worktree(&tree);
        report(&verdicts?)
    }

    fn try_patch(&self, tree: &Path, patch: &Path) -> Result<Verdict> {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        run(git_in(tree).args(["reset", "--quiet", "--hard"]))?;
        run(git_in(tree).arg("apply").arg(patch)).with_context(|| format!("apply the mutation {name}"))?;
        let (clean, why) = self.simulate(tree)?;
        Ok(Verdict { name, noticed: !clean, why })
    }

    /// Builds and runs the worktree's simulator: whether every seed was clean, and the first thing it said.
    fn simulate(&self, tree: &Path) -> Result<(bool, String)> {
        let target = root().join("target/mutations-target");
        let build =
            ["build", "--quiet", "--release", "--package", "filmgate-simulation", "--bin", "simulate"];
        run(Command::new("cargo").args(build).current_dir(tree).env("CARGO_TARGET_DIR", &target))?;
        let output = Command::new(target.join("release/simulate"))
            .args(["--seed", "1", "--seeds", &self.seeds.to_string()])
            .stdin(Stdio::null())
            .output()
            .context("start the simulator")?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        match output.status.code() {
            Some(0) => Ok((true, first)),
            Some(1 | PANICKED) => Ok((false, first)),
            _ => bail!("the simulator could not run: {first}"),
        }
    }
}

/// Every mutation must still fit the code it takes something from; a stale one would prove nothing.
pub(crate) fn all_apply() -> Result<()> {
    for patch in patches("")? {
        run(command("git").args(["apply", "--check"]).arg(&patch))
            .with_context(|| format!("{} does not fit the code any more: make it anew", patch.display()))?;
    }
    Ok(())
}

fn patches(only: &str) -> Result<Vec<PathBuf>> {
    let folder = root().join("tests/mutations");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut patches: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .filter(|path| path.to_string_lossy().contains(only))
        .collect();
    patches.sort();
    if patches.is_empty() {
        bail!("no mutation in {}", folder.display());
    }
    Ok(patches)
}

/// Held while this runs: two runs would take the worktree from each other.
fn alone() -> Result<File> {
    let folder = root().join("target/mutations");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("open the lock of the mutations")?;
    lock.try_lock().context("another run of the mutations is under way")?;
    Ok(lock)
}

/// The commit at hand, checked out apart: a mutation never touches the folder someone works in.
fn fresh_worktree() -> Result<PathBuf> {
    let tree = root().join("target/mutations/tree");
    remove_worktree(&tree);
    if !succeeds(command("git").args(["diff", "--quiet", "HEAD"])) {
        println!("changes that are not committed are left out");
    }
    run(command("git").args(["worktree", "add", "--quiet", "--force", "--detach"]).arg(&tree).arg("HEAD"))?;
    Ok(tree)
}

fn remove_worktree(tree: &Path) {
    let _ = succeeds(command("git").args(["worktree", "remove", "--force"]).arg(tree));
    let _ = fs::remove_dir_all(tree);
    let _ = succeeds(command("git").args(["worktree", "prune"]));
}

fn git_in(tree: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(tree);
    git
}

fn report(verdicts: &[Verdict]) -> Result<()> {
    let width = verdicts.iter().map(|verdict| verdict.name.len()).max().unwrap_or_default();
    println!("\n{:<width$}  outcome    what the simulator said", "mutation");
    for verdict in verdicts {
        let outcome = if verdict.noticed { "noticed" } else { "UNNOTICED" };
        println!("{:<width$}  {outcome:<9}  {}", verdict.name, verdict.why);
    }
    let unnoticed = verdicts.iter().filter(|verdict| !verdict.noticed).count();
    if unnoticed > 0 {
        bail!("{unnoticed} of {} mutations went unnoticed", verdicts.len());
    }
    Ok(())
}
