//! Chores of the repository: `cargo xtask demo`, `viewer`, `test`, `simulate`, `mutations`, `soak`, `contact-sheet`, `bench`.
//!
//! Thin on purpose: every chore is a list of commands, printed before they run. What a chore needs and the machine
//! lacks is installed by `install`, which says what and why.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore speaks to whoever runs it")]

mod bench;
mod contact_sheet;
mod demo;
mod install;
mod mutations;
mod run;
mod servers;
mod simulate;
mod soak;
mod steps;
mod test;
mod viewer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the gateway, send it the fixtures and keep it serving
    Demo(demo::Demo),
    /// Make the image viewer ready that the gateway serves at /ohif/
    Viewer(viewer::Viewer),
    /// Everything a change must pass: format, lints, unit tests, simulation, the real binary against real peers
    Test(test::Test),
    /// Start the servers the tests talk to and say where they are, for running single tests by hand
    Servers(servers::Run),
    /// Run the simulator over a range of seeds
    Simulate(simulate::Simulate),
    /// Take away one guarantee at a time and see the simulator notice
    Mutations(mutations::Mutations),
    /// The long form of the tests: 2,000 seeds, 50 kills, all round trips
    Soak(soak::Soak),
    /// Show every picture of the test data on sheets to look at
    ContactSheet(contact_sheet::ContactSheet),
    /// Measure beside peers; results and tables go to benches/
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Demo(demo) => demo.run(),
        Chore::Viewer(viewer) => viewer.run(),
        Chore::Test(test) => test.run(),
        Chore::Servers(servers) => servers.run(),
        Chore::Simulate(simulate) => simulate.run(),
        Chore::Mutations(mutations) => mutations.run(),
        Chore::Soak(soak) => soak.run(),
        Chore::ContactSheet(sheets) => sheets.run(),
        Chore::Bench(bench) => bench.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
