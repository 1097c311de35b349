//! `cargo xtask demo`: from a fresh clone to verified studies in a browser.

use anyhow::Result;
use clap::Args;

use crate::install;
use crate::run::{cargo, command, run, target_dir};

#[derive(Args)]
pub(crate) struct Demo {
    /// Handed on to `filmgate demo`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<()> {
        install::build_tools()?;
        println!("building filmgate (the first build takes some minutes: SQLCipher and OpenSSL come along)");
        run(&mut cargo(&["build", "--release", "--workspace", "--bin", "filmgate"]))?;
        run(command(target_dir().join("release/filmgate")).arg("demo").args(&self.arguments))
    }
}
