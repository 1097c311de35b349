//! `cargo xtask demo`: from a fresh clone to verified studies in a browser.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, command, root, run, target_dir};
use crate::{install, viewer};

/// Of the test data. Of the images that differ in nothing but their transfer syntax one each: they share their UIDs.
const WHOLE: [&str; 6] = [
    "ct-series",
    "mr-series",
    "objects",
    "syntaxes/misc",
    "syntaxes/mr-384-mono16/jpeg-ls-lossless.dcm",
    "syntaxes/enhanced-mr-10-frames/rle.dcm",
];

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
        demo.arg("demo").args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument.starts_with("--samples")) {
            demo.args(samples().iter().flat_map(|samples| [OsStr::new("--samples"), samples.as_os_str()]));
        }
        run(&mut demo)
    }
}

/// What lies in the repository; and where the test data is at hand, whole series, and objects of every kind.
fn samples() -> Vec<PathBuf> {
    let mut samples = vec![root().join("fixtures/dicom")];
    match install::test_data() {
        Ok(Some(folder)) => samples.extend(WHOLE.iter().map(|name| folder.join(name))),
        Ok(None) | Err(_) => println!(
            "only the small samples of the repository are sent: --samples names files and folders of yours"
        ),
    }
    samples
}
