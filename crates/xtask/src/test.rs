//! `cargo xtask test`: what a change must pass.

use anyhow::Result;
use clap::Args;

use crate::install;
use crate::mutations;
use crate::run::{cargo, run};
use crate::servers::Servers;
use crate::simulate;
use crate::steps::Steps;

const SEEDS: u64 = 200;

#[derive(Args)]
pub(crate) struct Test {}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        let mut steps = Steps::default();
        steps.step("tools of the build", &[], install::build_tools);
        steps.step("test peers", &[], install::test_peers);
        steps.step("test servers", &[], install::test_servers);
        steps.step("test data", &[], || install::test_data().map(drop));
        steps.step("format", &[], || run(&mut cargo(&["fmt", "--all", "--check"])));
        steps.step("mutations fit", &[], mutations::all_apply);
        steps.step("lints", &["tools of the build"], lints);
        steps.step("simulation", &["tools of the build"], || simulate::seeds(1, SEEDS));
        steps.step("tests", &["tools of the build", "test peers", "test servers", "test data"], tests);
        steps.finish()
    }
}

fn lints() -> Result<()> {
    run(&mut cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Unit and property tests of every crate, and the real binary with real peers.
fn tests() -> Result<()> {
    let servers = Servers::start()?;
    run(servers.tell(&mut cargo(&["test", "--release", "--workspace", "--no-fail-fast"])))
}
