//! The local disk: the journal where records land durably, the packs made of them, and the room both need.
//!
//! Sealed bytes come in and go out; nothing here knows keys, DICOM, the catalog or the bucket.
//!
//! - What a [`Ticket`] says is durable survives any crash, byte for byte, until it is released ([`Journal::release`]).
//! - A record of which a frame is missing never existed; a freed segment's records do not come back once its new
//!   epoch is synced.
//! - A failed write or sync is never retried in place.
//! - Memory is bounded by writers × one frame, plus a few hundred bytes for each record not packed yet.
//!
//! Absent on purpose: order between records, deletion of single records on disk, any wish to shrink the pool.
//!
//! | module | what |
//! | --- | --- |
//! | `disk` | [`Disk`], the seam for simulations; [`RealDisk`]; [`write_durably`] |
//! | `journal` | segments, frames, group commit, recovery; FORMAT.md is the layout to the byte |
//! | `mirror` | [`MirroredDisk`], a second directory that gets every write |
//! | `pack_folder` | packs, whole or absent |
//! | `cache_folder` | ranges of packs that are elsewhere, kept while there is room; no copy that counts |
//! | `admission` | who may come in, by what is free |

mod admission;
mod cache_folder;
mod disk;
mod error;
#[cfg(test)]
mod faulty;
mod journal;
mod metrics;
mod mirror;
mod pack_folder;

pub use admission::{Admission, Refusal, Reserve, Situation};
pub use cache_folder::CacheFolder;
pub use disk::{Disk, DiskFile, Open, RealDisk, read_exact_at, read_file, write_durably};
pub use error::Error;
pub use journal::{Epoch, Journal, JournalOptions, JournalRecord, RecordWriter, Room, Ticket};
pub use mirror::{MirrorMode, MirroredDisk, Side};
pub use pack_folder::{PackFile, PackFolder, PackReader};
