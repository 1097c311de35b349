//! The folder of the test data.

use std::path::PathBuf;

/// Where the test data lies; its absence is a failure in continuous integration only.
pub(crate) fn folder() -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("FILMGATE_TEST_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| workspace.join("../shared/data"));
    let there = folder.join("MANIFEST.tsv").is_file();
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(there || !required, "no test data in {}", folder.display());
    there.then_some(folder)
}
