//! `cargo xtask test`: what a change must pass.

use anyhow::Result;
use clap::Args;

use crate::install;
use crate::run::{cargo, run};
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
        steps.step("test data", &[], || install::test_data().map(drop));
        steps.step("format", &[], || run(&mut cargo(&["fmt", "--all", "--check"])));
        steps.step("lints", &["tools of the build"], lints);
        steps.step("unit and property tests", &["tools of the build"], unit_tests);
        steps.step("simulation, 200 seeds", &["unit and property tests"], || simulate::seeds(1, SEEDS));
        steps.step(
            "black-box tests",
            &["unit and property tests", "test peers", "test data"],
            black_box_tests,
        );
        steps.finish()
    }
}

fn lints() -> Result<()> {
    run(&mut cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Everything beside the code, of every crate; the same selection of packages as [`black_box_tests`], so that
/// nothing is compiled twice.
fn unit_tests() -> Result<()> {
    run(&mut cargo(&["test", "--release", "--workspace", "--lib", "--bins"]))?;
    run(&mut cargo(&["test", "--release", "--workspace", "--doc"]))
}

/// The real binary with real peers.
fn black_box_tests() -> Result<()> {
    run(&mut cargo(&["test", "--release", "--workspace", "--test", "filmgate"]))
}
