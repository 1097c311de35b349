//! `cargo xtask simulate`: the gateway's own functions over a crashing disk, replayed by seed.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, command, run, target_dir};

#[derive(Args)]
pub(crate) struct Simulate {
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, counted up from the first
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<()> {
        seeds(self.seed, self.seeds)
    }
}

/// Runs `count` seeds from `first` on; an error when one of them fails.
pub(crate) fn seeds(first: u64, count: u64) -> Result<()> {
    // As part of the workspace: its dependencies are built with the features that everything else has too.
    run(&mut cargo(&["build", "--quiet", "--release", "--workspace", "--bin", "simulate"]))?;
    let range = ["--seed", &first.to_string(), "--seeds", &count.to_string()];
    run(command(target_dir().join("release/simulate")).args(range))
}
