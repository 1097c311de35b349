//! `cargo xtask bench`: installs the peers, builds gateway and benchmarks, and measures.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::install;
use crate::run::{cargo, command, root, run, target_dir};
use crate::servers::Servers;
use crate::viewer;

#[derive(Args)]
pub(crate) struct Bench {
    /// What is measured
    which: Which,
    /// Handed on, such as --rounds N, --quick; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// A frame of a pack that is only in S3, beside a plain range GET
    Cold,
    /// Receiving by C-STORE, beside DCMTK and Orthanc
    Ingest,
    /// Searches among many studies, in SQLite and PostgreSQL, beside Orthanc
    Qido,
    /// Bringing a catalog back from bucket and keys
    Rebuild,
    /// Asking over DICOMweb, beside Orthanc and its plugin
    Retrieve,
    /// Sealing and opening, what a core does in a second
    Seal,
    /// The journal's group commit, beside a synced file for each instance
    Spool,
    /// Packs to S3, beside a plain copy and an object for each instance, and while receiving
    Upload,
    /// A study opened in the viewer, beside the same viewer on Orthanc
    Viewer,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        install::build_tools()?;
        if matches!(self.which, Which::Ingest | Which::Qido | Which::Retrieve | Which::Viewer) {
            install::bench_peers()?;
        }
        if matches!(self.which, Which::Retrieve) {
            install::test_peers()?;
        }
        if matches!(self.which, Which::Viewer) {
            install::browser()?;
        }
        println!("building the gateway and the benchmarks (the first build takes some minutes)");
        // The whole workspace, as the tests do: a selection of packages would build the dependencies with other features.
        run(&mut cargo(&["build", "--release", "--workspace"]))?;
        self.measure()
    }

    /// The rebuild of 100,000 instances, once; the committed figures stay as they are.
    pub(crate) fn rebuild_once() -> Result<()> {
        let arguments = ["--rounds", "1", "--partial"].map(str::to_owned).to_vec();
        Self { which: Which::Rebuild, arguments }.run()
    }

    fn measure(&self) -> Result<()> {
        let start = match self.which {
            Which::Cold | Which::Upload => Servers::only_s3,
            Which::Qido => Servers::only_postgres,
            _ => return run(&mut self.program()?),
        };
        install::test_servers()?;
        let servers = start()?;
        run(servers.tell(&mut self.program()?))
    }

    fn program(&self) -> Result<Command> {
        let mut bench = command(target_dir().join("release/filmgate-bench"));
        match self.which {
            Which::Ingest | Which::Cold | Which::Retrieve | Which::Upload | Which::Viewer => {
                let name = match self.which {
                    Which::Cold => "cold",
                    Which::Retrieve => "retrieve",
                    Which::Upload => "upload",
                    Which::Viewer => "viewer",
                    _ => "ingest",
                };
                bench.arg(name).arg("--gateway").arg(target_dir().join("release/filmgate"));
                bench.arg("--test-data").arg(test_data()?);
            }
            Which::Seal => {
                bench.arg("seal").arg("--test-data").arg(test_data()?);
            }
            Which::Rebuild => {
                bench.arg("rebuild").arg("--gateway").arg(target_dir().join("release/filmgate"));
            }
            Which::Qido => {
                bench.arg("qido");
            }
            Which::Spool => {
                bench.arg("spool");
            }
        }
        if matches!(self.which, Which::Retrieve) {
            bench.arg("--python").arg(install::python());
        }
        if matches!(self.which, Which::Viewer) {
            let viewer = viewer::prepared()?;
            // The gateway that is started has its environment from the benchmark.
            bench.env("FILMGATE__VIEWER__PATH", &viewer).arg("--viewer").arg(&viewer);
            bench.arg("--browser").arg(install::browser_packages());
        }
        bench.arg("--work").arg(target_dir().join("bench-data"));
        bench.arg("--benches").arg(root().join("benches"));
        bench.args(&self.arguments);
        Ok(bench)
    }
}

fn test_data() -> Result<PathBuf> {
    install::test_data()?.context("this benchmark needs slices of the test data")
}
