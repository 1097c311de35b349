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
use crate::viewer;

const SEEDS: u64 = 200;

/// Stories of the real binary, and what they keep instances in.
pub(crate) struct Stories {
    pub(crate) name: &'static str,
    stores: &'static [(&'static str, &'static str)],
    filters: &'static [&'static str],
}

pub(crate) const fn told(
    name: &'static str,
    stores: &'static [(&'static str, &'static str)],
    filters: &'static [&'static str],
) -> Stories {
    Stories { name, stores, filters }
}

impl Stories {
    /// What tells them.
    pub(crate) fn command(&self) -> Command {
        let mut tests =
            cargo(&["test", "--release", "--workspace", "--test", "filmgate", "--", "--nocapture"]);
        tests.args(self.filters).envs(self.stores.iter().copied());
        tests
    }
}

/// How tests are told to keep instances on the S3 server.
pub(crate) const OVER_S3: &[(&str, &str)] = &[("FILMGATE_TEST_BUCKET", "s3")];
/// … and their catalog in PostgreSQL.
pub(crate) const OVER_S3_AND_POSTGRES: &[(&str, &str)] =
    &[("FILMGATE_TEST_BUCKET", "s3"), ("FILMGATE_TEST_CATALOG", "postgres")];

/// What arrives is given back the same, twice or deleted, and followed, whatever it is kept in: the embedded defaults are
/// part of the other tests, two nodes over S3 part of `cargo xtask soak`.
const OTHER_STORES: [Stories; 2] = [
    told("stories over S3", OVER_S3, &["round_trip::", "duplicates::", "custody::", "adopt::", "follow::"]),
    told(
        "stories over S3 and PostgreSQL",
        OVER_S3_AND_POSTGRES,
        &["round_trip::", "duplicates::", "custody::", "cloud::"],
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
        steps.step("browser", &[], install::browser);
        let mut viewer = None;
        steps.step("viewer", &["browser"], || {
            viewer = Some(viewer::prepared()?);
            Ok(())
        });
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
            // Nothing of the documentation is a test; looking for some in every crate takes a minute.
            let mut tests = cargo(&["test", "--release", "--workspace", "--tests", "--no-fail-fast"]);
            tests.env("FILMGATE_TEST_BROWSER", install::browser_packages());
            tests.envs(viewer.as_ref().map(|folder| ("FILMGATE_TEST_VIEWER", folder)));
            with_servers(servers.as_ref(), tests)
        });
        for stories in &OTHER_STORES {
            steps.step(stories.name, &needs, || with_servers(servers.as_ref(), stories.command()));
        }
        steps.finish()
    }
}

fn lints() -> Result<()> {
    run(&mut cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Runs tests that know where the servers are.
fn with_servers(servers: Option<&Servers>, mut tests: Command) -> Result<()> {
    let servers = servers.context("the servers are not running")?;
    run(servers.tell(&mut tests))
}
