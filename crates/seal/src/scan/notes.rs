//! What is noted of a dataset beside its bytes.

use filmgate_model::Tag;

/// Bulk values noted of one dataset at most; further ones are found by reading its header chunks.
pub const BULK_VALUES_MAX: usize = 4096;

/// Fragments noted of one dataset at most; further ones are found by reading.
pub const FRAGMENTS_MAX: usize = 16_384;

/// Bytes kept of each offset table; a longer one is read where it lies.
pub const OFFSET_TABLE_BYTES_MAX: usize = 64 * 1024;

/// How far a dataset could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reading {
    /// To its end.
    #[default]
    Read,
    /// Not, or not to its end, as its syntax is private or unknown: accepted all the same.
    Unread(String),
    /// Its bytes contradict its syntax or end too early: for quarantine.
    Broken(String),
}

/// Departures from the standard that were met and dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Oddity {
    /// The dataset is in another encoding than its transfer syntax says.
    OtherEncoding = 1,
    /// An element without VR in an explicit VR dataset.
    ImplicitElement = 2,
    /// A VR the standard does not know.
    UnknownVr = 3,
    /// A value of odd length (PS3.5 7.1.1 wants even ones).
    OddLength = 4,
    /// An item or sequence of undefined length without its delimiter.
    MissingDelimiter = 5,
    /// A delimiter or item where none belongs.
    StrayDelimiter = 6,
    /// Lengths of an element and of what it stands in disagree.
    LengthMismatch = 7,
    /// Bytes after the last element.
    TrailingPadding = 8,
    /// Sequences deeper within each other than are followed.
    BeyondDepth = 9,
    /// More header bytes than are read of one dataset.
    BeyondHeaderBytes = 10,
    /// A sequence whose content is no item.
    NoItem = 11,
    /// A deflated dataset that was inflated only as far as the limit allows.
    BeyondInflatedBytes = 12,
    /// Pixel data that is there more than once.
    RepeatedPixelData = 13,
}

impl Oddity {
    const ALL: [Self; 13] = [
        Self::OtherEncoding,
        Self::ImplicitElement,
        Self::UnknownVr,
        Self::OddLength,
        Self::MissingDelimiter,
        Self::StrayDelimiter,
        Self::LengthMismatch,
        Self::TrailingPadding,
        Self::BeyondDepth,
        Self::BeyondHeaderBytes,
        Self::NoItem,
        Self::BeyondInflatedBytes,
        Self::RepeatedPixelData,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|oddity| *oddity as u8 == number)
    }
}

/// What a bulk value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BulkKind {
    /// Any long value that is not pixel data of the top level.
    Plain = 0,
    /// Native samples.
    Native = 1,
    /// Items of encapsulated pixel data, from the offset table's to the delimiter.
    Encapsulated = 2,
}

/// A value that lies in Bulk chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkValue {
    /// Sequences it stands in, outermost first, each with the number of the item from 0; empty at the top level.
    pub within: Vec<(Tag, u32)>,
    /// Its tag.
    pub tag: Tag,
    /// Where its value begins in the dataset (in the inflated dataset, where that is deflated).
    pub dataset_offset: u64,
    /// Bytes of its value.
    pub bytes: u64,
    /// What it holds.
    pub kind: BulkKind,
}

/// One fragment's content, without its item head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where it begins in the dataset.
    pub dataset_offset: u64,
    /// Its bytes.
    pub bytes: u32,
}

/// What was seen of encapsulated pixel data at the top level; frames are derived from it when they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PixelData {
    /// The first [`FRAGMENTS_MAX`] fragments.
    pub fragments: Vec<Fragment>,
    /// How many there are.
    pub fragments_total: u64,
    /// Content of the basic offset table's item (PS3.5 A.4), as it stands; `None` when there was none or it is longer
    /// than [`OFFSET_TABLE_BYTES_MAX`].
    pub basic_offset_table: Option<Vec<u8>>,
    /// Value of the Extended Offset Table (7FE0,0001), little endian; `None` as above.
    pub extended_offset_table: Option<Vec<u8>>,
    /// Value of the Extended Offset Table Lengths (7FE0,0002), little endian; `None` as above.
    pub extended_offset_table_lengths: Option<Vec<u8>>,
}

impl PixelData {
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let tables =
            [&self.basic_offset_table, &self.extended_offset_table, &self.extended_offset_table_lengths];
        let table_bytes: usize = tables.into_iter().flatten().map(Vec::capacity).sum();
        self.fragments.capacity() * size_of::<Fragment>() + table_bytes
    }
}
