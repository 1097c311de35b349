//! Lines of the log, to standard error; never with a patient's data.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// The target of lines that say who was refused and who changed what.
const AUDIT: &str = "audit";

/// Starts logging; a second start in one process changes nothing.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let mut filter = EnvFilter::builder().parse(&log.filter)?;
    if !log.filter.contains(AUDIT) {
        // Whoever wants fewer lines does not mean these.
        filter = filter.add_directive(format!("{AUDIT}=info").parse()?);
    }
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    let started = match log.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging is on already");
    }
    Ok(())
}
