//! One instance, sealed: chunks, table, trailer (FORMAT.md, Record).

mod associated;
mod chunk_work;
mod chunker;
pub(crate) mod open;
mod options;
mod sealer;
mod table;
pub(crate) mod table_codec;

pub use chunk_work::{Helpers, Work};
pub use open::{FORMAT_VERSION, TRAILER_BYTES, open_chunk, open_record, open_table, table_range};
pub use options::{CHUNK_BYTES_MAX, SealOptions};
pub use sealer::RecordSealer;
pub use table::{ChunkEntry, Class, RecordTable, SampleShape};
