//! Runs simulations by seed: `simulate --seed N --seeds M`. Ends with 1 at the first broken promise.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use filmgate_simulation::{JournalTally, journal_tally};

/// Runs the product's functions over a crashing disk, seed by seed.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// First seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let mut tally = JournalTally::default();
    for seed in (arguments.seed..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        match journal_tally(seed) {
            Ok(run) => tally.add(&run),
            Err(violation) => {
                writeln!(out, "journal: {violation}")?;
                writeln!(out, "replay with: cargo xtask simulate --seed {seed} --seeds 1")?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    writeln!(out, "journal: {} seeds clean: {tally:?}", arguments.seeds)?;
    Ok(ExitCode::SUCCESS)
}
