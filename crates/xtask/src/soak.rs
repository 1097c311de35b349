//! `cargo xtask soak`: the full figures, for before a release; takes hours rather than minutes and 20 GB of disk.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::bench::Bench;
use crate::run::run;
use crate::servers::Servers;
use crate::servers::garage::{self, Garage};
use crate::steps::Steps;
use crate::test::{OVER_S3, OVER_S3_AND_POSTGRES, Stories, told};
use crate::{install, simulate};

/// What is received while the S3 server is away.
const OUTAGE_BYTES: u64 = 2 << 30;
/// Frames of 512 KiB in each of the long instances: 2 GB.
const LONG_FRAMES: u32 = 4096;
/// Values made up for each operation of the API.
const API_EXAMPLES: u32 = 500;
/// Times the two nodes are killed in turn.
const NODE_ROUNDS: u32 = 20;

#[derive(Args)]
pub(crate) struct Soak {
    /// Seeds of the simulation
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// Times the gateway is killed under load
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Only the steps whose name contains this, and what they need
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// The embedded defaults: a folder and a file.
const EMBEDDED: &[(&str, &str)] = &[];

const STORIES: [Stories; 29] = [
    told("kills", EMBEDDED, &["restart::"]),
    told("round trips", EMBEDDED, &["round_trip::"]),
    told("round trips over S3", OVER_S3, &["round_trip::"]),
    told("round trips over S3 and PostgreSQL", OVER_S3_AND_POSTGRES, &["round_trip::"]),
    told("malformed input", EMBEDDED, &["malformed::"]),
    told("attacks", EMBEDDED, &["bounded::"]),
    told("four instances of 2 GB at once", EMBEDDED, &["fairness::"]),
    told("duplicates", EMBEDDED, &["duplicates::"]),
    told("duplicates over S3", OVER_S3, &["duplicates::"]),
    told("duplicates over S3 and PostgreSQL", OVER_S3_AND_POSTGRES, &["duplicates::"]),
    told("custody", EMBEDDED, &["custody::", "roles::"]),
    told("custody over S3", OVER_S3, &["custody::", "roles::"]),
    told("custody over S3 and PostgreSQL", OVER_S3_AND_POSTGRES, &["custody::", "roles::"]),
    told("rotation of 10,000 keys", EMBEDDED, &["keys::"]),
    told("rotation of the site key", EMBEDDED, &["rotation::"]),
    told("shredding", EMBEDDED, &["shred::"]),
    told("two nodes", EMBEDDED, &["nodes::"]),
    told("two nodes over S3", OVER_S3, &["nodes::"]),
    told("adoption", EMBEDDED, &["adopt::"]),
    told("adoption over S3", OVER_S3, &["adopt::"]),
    told("a follower of 2,000 studies", EMBEDDED, &["follow::"]),
    told("a follower of 2,000 studies over S3", OVER_S3, &["follow::"]),
    told("a machine made again", EMBEDDED, &["rebuild::", "outage::"]),
    told("what is only in the bucket", EMBEDDED, &["cold::"]),
    told("an S3 server that is away for 2 GB", EMBEDDED, &["cloud::"]),
    told("an S3 server that is away for 2 GB, and PostgreSQL", OVER_S3_AND_POSTGRES, &["cloud::"]),
    told("an S3 server as it can be met", EMBEDDED, &["endpoint::"]),
    told("the API by its document", EMBEDDED, &["openapi::"]),
    told("doors", EMBEDDED, &["doors::", "access::", "login::"]),
];

/// On Garage; the last of them while its nodes die.
const ON_GARAGE: [Stories; 6] = [
    told("round trips on Garage", OVER_S3, &["round_trip::"]),
    told("round trips on Garage and PostgreSQL", OVER_S3_AND_POSTGRES, &["round_trip::"]),
    told("duplicates and custody on Garage", OVER_S3, &["duplicates::", "custody::"]),
    told(
        "duplicates and custody on Garage and PostgreSQL",
        OVER_S3_AND_POSTGRES,
        &["duplicates::", "custody::"],
    ),
    told("an upload to Garage that is spoiled", OVER_S3, &["cloud::"]),
    told("an upload to Garage that is spoiled, and PostgreSQL", OVER_S3_AND_POSTGRES, &["cloud::"]),
];
const WHILE_NODES_DIE: Stories = told(
    "duplicates, custody and an outage while nodes of Garage die",
    OVER_S3,
    &["duplicates::", "custody::", "cloud::"],
);

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        let mut steps = Steps::only(self.only.clone());
        steps.step("tools of the build", &[], install::build_tools);
        steps.step("test peers", &[], install::test_peers);
        steps.step("test data", &[], || install::test_data().map(drop));
        steps.step("test servers", &[], install::test_servers);
        let mut servers = None;
        steps.step("servers started", &["test servers"], || {
            servers = Some(Servers::start()?);
            Ok(())
        });
        steps.chosen("simulation", &["tools of the build"], || simulate::seeds(1, self.seeds));
        for story in &STORIES {
            steps.chosen(story.name, &NEEDS, || run(&mut self.command(story, servers.as_ref())?));
        }
        steps.chosen("a catalog of 100,000 instances made again", &["tools of the build"], || {
            Bench::rebuild_once()
        });
        self.on_garage(&mut steps, servers.as_ref());
        steps.finish()
    }

    fn on_garage(&self, steps: &mut Steps, servers: Option<&Servers>) {
        let all = || ON_GARAGE.iter().chain([&WHILE_NODES_DIE]);
        let Some(program) = garage::program() else {
            all().for_each(|story| steps.leave_out(story.name, garage::ABSENT));
            return;
        };
        let mut garage = None;
        if all().any(|story| steps.is_chosen(story.name)) {
            steps.step("Garage started", &[], || {
                garage = Some(Garage::start(program)?);
                Ok(())
            });
        }
        let needs = [&NEEDS[..], &["Garage started"]].concat();
        for story in &ON_GARAGE {
            steps.chosen(story.name, &needs, || {
                let garage = garage.as_ref().context("Garage does not run")?;
                run(self.command(story, servers)?.envs(garage.environment()))
            });
        }
        steps.chosen(WHILE_NODES_DIE.name, &needs, || {
            let garage = garage.as_mut().context("Garage does not run")?;
            let mut command = self.command(&WHILE_NODES_DIE, servers)?;
            command.envs(garage.environment());
            garage.while_nodes_die(|| run(&mut command))
        });
    }

    fn command(&self, story: &Stories, servers: Option<&Servers>) -> Result<Command> {
        let mut tests = story.command();
        tests.env("FILMGATE_TEST_ROTATED_KEYS", "10000");
        tests.env("FILMGATE_TEST_FOLLOW_STUDIES", "2000");
        tests.env("FILMGATE_TEST_NODE_ROUNDS", NODE_ROUNDS.to_string());
        tests.env("FILMGATE_TEST_API_EXAMPLES", API_EXAMPLES.to_string());
        tests.env("FILMGATE_TEST_KILLS", self.kills.to_string());
        tests.env("FILMGATE_TEST_CLOUD_BYTES", OUTAGE_BYTES.to_string());
        tests.env("FILMGATE_TEST_BIG_FRAMES", LONG_FRAMES.to_string());
        servers.context("the servers are not running")?.tell(&mut tests);
        Ok(tests)
    }
}

/// What every story needs.
const NEEDS: [&str; 4] = ["tools of the build", "test peers", "test data", "servers started"];
