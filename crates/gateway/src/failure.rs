//! Exit codes of commands, and the one place where an error becomes one.

use std::process::ExitCode;

use crate::{config, data_dir, tls};

/// Everything was done.
pub(crate) const DONE: u8 = 0;
/// The command could not run, or a critical task died.
pub(crate) const COULD_NOT_RUN: u8 = 1;
/// Some items failed.
pub(crate) const SOME_FAILED: u8 = 2;
/// The command line or the configuration is wrong.
pub(crate) const USAGE: u8 = 64;

/// Tells what went wrong, with all its causes, and how the process ends.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprint(&format!("filmgate: {error:#}"));
    let configuration = error.chain().any(|cause| {
        cause.is::<config::Error>()
            || cause.is::<tls::Error>()
            || cause.downcast_ref::<data_dir::Error>().is_some_and(data_dir::Error::is_configuration)
            || cause.is::<crate::site::Error>()
            || cause.downcast_ref::<filmgate_keys::Error>().is_some_and(|error| error.is_configuration())
    });
    ExitCode::from(if configuration { USAGE } else { COULD_NOT_RUN })
}

/// A line to the person at the terminal.
#[expect(clippy::print_stderr, reason = "the command line speaks to its user here")]
pub(crate) fn eprint(line: &str) {
    eprintln!("{line}");
}

/// A line of the command's result.
#[expect(clippy::print_stdout, reason = "the command line gives its result here")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

/// One JSON value as a line of the command's result.
pub(crate) fn print_json(value: &serde_json::Value) {
    print(&value.to_string());
}
