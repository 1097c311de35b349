//! `cargo xtask demo`: from a fresh clone to verified studies in a browser.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, command, run, target_dir};
use crate::{install, viewer};

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
        let mut demo = command(target_dir().join("release/filmgate"));
        match viewer::prepared() {
            Ok(folder) => demo.env("FILMGATE__VIEWER__PATH", folder),
            // Everything else works without it, and the pages say how to get it.
            Err(error) => {
                println!("the viewer is left out: {error:#}");
                &mut demo
            }
        };
        run(demo.arg("demo").args(&self.arguments))
    }
}
