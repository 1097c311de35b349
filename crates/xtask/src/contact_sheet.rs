//! `cargo xtask contact-sheet`: every picture of the test data as a thumbnail, on sheets to look at.

use anyhow::{Result, bail};
use clap::Args;

use crate::install;
use crate::run::{cargo, command, run, target_dir};

#[derive(Args)]
pub(crate) struct ContactSheet {}

impl ContactSheet {
    pub(crate) fn run(&self) -> Result<()> {
        if install::test_data()?.is_none() {
            bail!("no pictures to show");
        }
        install::build_tools()?;
        // As part of the workspace: its dependencies are built with the features that everything else has too.
        run(&mut cargo(&["build", "--quiet", "--release", "--workspace", "--example", "contact-sheet"]))?;
        let sheets = target_dir().join("contact-sheets");
        run(command(target_dir().join("release/examples/contact-sheet")).arg(sheets))
    }
}
