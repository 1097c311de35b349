//! A process that decodes and encodes for the gateway, which starts it: over standard input and output, until they end.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What it is called with; see `pixels` in the settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Memory it may take.
    #[arg(long, value_name = "BYTES")]
    memory_bytes_max: u64,
}

/// Serves until nobody asks any more. Reads no settings, opens no file and logs nothing.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    // A codec that a codestream has led astray writes no file, and its memory, which has images in it, is never dumped.
    for (resource, most) in
        [(Resource::As, arguments.memory_bytes_max), (Resource::Core, 0), (Resource::Fsize, 0)]
    {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // What a codec says in panic is the question's answer already.
    std::panic::set_hook(Box::new(|_| {}));
    match filmgate_pixels::worker::serve(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        // The gateway has gone in the middle of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        served => Ok(served.map(|()| 0)?),
    }
}
