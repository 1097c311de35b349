//! `cargo xtask test`: what a change must pass.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::install;
use crate::mutations;
use crate::run::{cargo, run};
use crate::servers::Servers;
use crate::simulate;
use crate::steps::Steps;

const SEEDS: u64 = 200;

/// What instances are kept in beside the embedded defaults, and how the tests are told so.
const OTHER_STORES: [(&str, &[(&str, &str)]); 2] = [
    ("stories over S3", &[("FILMGATE_TEST_BUCKET", "s3")]),
    (
        "stories over S3 and PostgreSQL",
        &[("FILMGATE_TEST_BUCKET", "s3"), ("FILMGATE_TEST_CATALOG", "postgres")],
    ),
];

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
        let mut servers = None;
        steps.step("servers started", &["test servers"], || {
            servers = Some(Servers::start()?);
            Ok(())
        });
        let needs = ["tools of the build", "test peers", "servers started", "test data"];
        steps.step("tests", &needs, || {
            told(servers.as_ref(), cargo(&["test", "--release", "--workspace", "--no-fail-fast"]))
        });
        for (name, settings) in OTHER_STORES {
            steps.step(name, &needs, || told(servers.as_ref(), stories(settings)));
        }
        steps.finish()
    }
}

fn lints() -> Result<()> {
    run(&mut cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Runs tests that know where the servers are.
fn told(servers: Option<&Servers>, mut tests: Command) -> Result<()> {
    let servers = servers.context("the servers are not running")?;
    run(servers.tell(&mut tests))
}

/// What arrives is given back the same, twice or deleted, whatever it is kept in: the embedded defaults are part of the
/// other tests.
fn stories(settings: &[(&str, &str)]) -> Command {
    let mut tests = cargo(&[
        "test",
        "--release",
        "--workspace",
        "--test",
        "filmgate",
        "--",
        "--nocapture",
        "round_trip::",
        "duplicates::",
        "custody::",
    ]);
    tests.envs(settings.iter().copied());
    tests
}
