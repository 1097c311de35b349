//! Runs simulations by seed: `simulate --seed N --seeds M`. Ends with 1 at the first broken promise.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use filmgate_simulation::{JournalTally, RoadTally, Violation, journal_tally, road_tally};

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
    let (mut journal, mut road) = (JournalTally::default(), RoadTally::default());
    for seed in (arguments.seed..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        let run = journal_tally(seed).map_err(|violation| ("journal", violation)).and_then(|run| {
            journal.add(&run);
            road_tally(seed).map_err(|violation| ("road", violation))
        });
        match run {
            Ok(run) => road.add(&run),
            Err((what, violation)) => return tell(&mut out, what, &violation),
        }
    }
    writeln!(out, "journal: {} seeds clean: {journal:?}", arguments.seeds)?;
    writeln!(out, "road: {} seeds clean: {road:?}", arguments.seeds)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(out: &mut impl Write, what: &str, violation: &Violation) -> io::Result<ExitCode> {
    writeln!(out, "{what}: {violation}")?;
    writeln!(out, "replay with: cargo xtask simulate --seed {} --seeds 1", violation.seed)?;
    Ok(ExitCode::FAILURE)
}
