//! Filmgate: a DICOM imaging cloud gateway for hospitals.
//!
//! | file | what |
//! | --- | --- |
//! | `config` | settings, checked before a port opens |
//! | `data_dir` | one gateway per data directory; where a running one answers |
//! | `build` | the parts put together, and what a crash left put in order |
//! | `dicom_door`, `line` | associations, each on a thread of its own, over TCP or TLS |
//! | `kek` | the key of keys that the settings name |
//! | `site` | which site an empty data directory is of |
//! | `web_door` | connections of HTTP, each a task |
//! | `seats` | how many may be at a door, and who gives way |
//! | `tls` | certificates, keys, and the profile they are used under |
//! | `audit` | who was refused, and what was changed by whom |
//! | `workers` | the steps that run by themselves |
//! | `background` | threads of a lower priority for what can wait |
//! | `commands` | what the command line offers |
//! | `ending` | what must be over before the process goes |

mod adopted;
mod audit;
mod background;
mod build;
mod commands;
mod config;
mod data_dir;
mod dicom_door;
mod ending;
mod failure;
mod kek;
mod line;
mod logging;
mod peers;
mod seats;
mod site;
mod tls;
mod web_door;
mod workers;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

/// Buffers of megabytes come and go on many threads. The C library's allocator keeps what they took: four times as much as
/// is in use, seen while a backlog is uploaded.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // One provider for every TLS there is; only a second call could fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match commands::Cli::try_parse() {
        Ok(cli) => {
            let code = commands::run(cli);
            ending::wait_for_catalog();
            code
        }
        Err(error) => {
            let asked = !error.use_stderr();
            // Printing usage fails only when nobody reads it.
            let _ = error.print();
            if asked { ExitCode::SUCCESS } else { ExitCode::from(failure::USAGE) }
        }
    }
}
