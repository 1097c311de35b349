//! `cargo xtask soak`: the full figures, for before a release; takes hours rather than minutes and 20 GB of disk.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, run};
use crate::servers::Servers;
use crate::steps::Steps;
use crate::{install, simulate};

/// What is received while the S3 server is away.
const OUTAGE_BYTES: u64 = 2 << 30;
/// Frames of 512 KiB in each of the long instances: 2 GB.
const LONG_FRAMES: u32 = 4096;

#[derive(Args)]
pub(crate) struct Soak {
    /// Seeds of the simulation
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// Times the gateway is killed under load
    #[arg(long, default_value_t = 50)]
    kills: u32,
}

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        let mut steps = Steps::default();
        steps.step("test peers", &[], install::test_peers);
        steps.step("test data", &[], || install::test_data().map(drop));
        steps.step("simulation", &[], || simulate::seeds(1, self.seeds));
        steps.step("kills", &[], || self.story("restart::"));
        steps.step("round trips", &["test peers", "test data"], || self.story("round_trip::"));
        steps.step("malformed input", &["test peers", "test data"], || self.story("malformed::"));
        steps.step("rotation of 10,000 keys", &[], || self.story("keys::"));
        steps.step("a follower of 2,000 studies", &[], || self.story("follow::"));
        steps.step("attacks", &[], || self.story("bounded::"));
        steps.step("four instances of 2 GB at once", &[], || self.story("fairness::"));
        steps.step("test servers", &[], install::test_servers);
        steps.step("an S3 server that is away for 2 GB", &["test servers"], || {
            let servers = Servers::start()?;
            run(servers.tell(&mut self.command("cloud::")))
        });
        steps.finish()
    }

    fn story(&self, filter: &str) -> Result<()> {
        run(&mut self.command(filter))
    }

    fn command(&self, filter: &str) -> Command {
        let mut tests =
            cargo(&["test", "--release", "--workspace", "--test", "filmgate", "--", "--nocapture", filter]);
        tests.env("FILMGATE_TEST_ROTATED_KEYS", "10000");
        tests.env("FILMGATE_TEST_FOLLOW_STUDIES", "2000");
        tests.env("FILMGATE_TEST_KILLS", self.kills.to_string());
        tests.env("FILMGATE_TEST_CLOUD_BYTES", OUTAGE_BYTES.to_string());
        tests.env("FILMGATE_TEST_BIG_FRAMES", LONG_FRAMES.to_string());
        tests
    }
}
