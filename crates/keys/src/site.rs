//! The keys of a site, as one object: in the data directory and, byte for byte, in every bucket as
//! `v1/key/<site id>/<generation>`. A random key of its own seals it; the key of keys wraps only that one, whoever keeps it.
//!
//! Generations count the objects: one is made when the key of keys changes and when a site key is added or given up. They
//! are never changed. The site keys inside have numbers of their own; the highest wraps what is new.

use std::{fmt, path::Path};

use filmgate_model::{Random, SiteId, Timestamp};
use filmgate_seal::{KEY_BYTES, WRAPPED_KEY_BYTES, WrappingKey, unwrap_key, wrap_key};
use zeroize::Zeroizing;

use crate::{
    Error, Kek, KekName,
    kek::{Algorithm, Provider, Wrapped},
    key_file::{CHECK_BYTES, CHECKSUM_BYTES, KEY_FILE_BYTES, Key, Reader, check_crc, check_of},
};

pub(crate) const MAGIC: &[u8; 6] = b"FMGSIT";
const VERSION: u8 = 0;
/// Site keys in one object: the current one and, amid a rotation, the one before it; more when rotations were cut short.
const KEYS_MAX: usize = 16;
/// What a key of keys may make of 32 bytes.
const WRAPPED_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = u8::MAX as usize;
/// Number, time, wrapped key.
const ENTRY_BYTES: usize = 4 + 8 + WRAPPED_KEY_BYTES;
/// Magic, version, site, generation, time, provider, algorithm.
const HEADER_BYTES: usize = 6 + 1 + 16 + 4 + 8 + 1 + 1;
/// An object of more bytes is none of these.
pub(crate) const SITE_OBJECT_BYTES_MAX: usize = HEADER_BYTES
    + 1
    + NAME_BYTES_MAX
    + 4
    + 2
    + WRAPPED_BYTES_MAX
    + 1
    + KEYS_MAX * ENTRY_BYTES
    + CHECKSUM_BYTES;

/// One key of the site.
#[derive(Clone)]
pub(crate) struct SiteKey {
    pub(crate) number: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) key: Key,
}

/// The keys of the site, opened; the last one is the current one.
#[derive(Clone)]
pub(crate) struct SiteKeys {
    site_id: SiteId,
    keys: Vec<SiteKey>,
    /// Given up by the site, while files of this data directory need them: they open and wrap nothing.
    earlier: Vec<SiteKey>,
}

impl SiteKeys {
    /// A site with its first key.
    pub(crate) fn first(site_id: SiteId, key: Key, now: Timestamp) -> Self {
        Self { site_id, keys: vec![SiteKey { number: 1, created_at: now, key }], earlier: Vec::new() }
    }

    /// Keys by rising number, at least one.
    pub(crate) fn of(site_id: SiteId, keys: Vec<SiteKey>) -> Option<Self> {
        let rises = keys.windows(2).all(|pair| pair[0].number < pair[1].number);
        (rises && (1..=KEYS_MAX).contains(&keys.len())).then_some(Self { site_id, keys, earlier: Vec::new() })
    }

    /// These, and one more.
    pub(crate) fn with_new(&self, key: Key, now: Timestamp) -> Self {
        let mut keys = self.keys.clone();
        keys.push(SiteKey { number: self.current().number + 1, created_at: now, key });
        Self { site_id: self.site_id, keys, earlier: self.earlier.clone() }
    }

    /// The current one and no other.
    pub(crate) fn newest_alone(&self) -> Self {
        Self { keys: vec![self.current().clone()], ..self.clone() }
    }

    /// These, and site keys that were given up; what is there already is not there twice.
    pub(crate) fn and_earlier(mut self, given_up: Vec<SiteKey>) -> Self {
        for site_key in given_up {
            if self.named(check_of(&site_key.key, self.site_id)).is_none() {
                self.earlier.push(site_key);
            }
        }
        self
    }

    /// These, and none that was given up.
    pub(crate) fn without_earlier(&self) -> Self {
        Self { earlier: Vec::new(), ..self.clone() }
    }

    /// Those that were given up and are needed still.
    pub(crate) fn earlier(&self) -> &[SiteKey] {
        &self.earlier
    }

    /// Those of all these, by rising number, that `others` have not.
    pub(crate) fn lacking_in(&self, others: &Self) -> Vec<SiteKey> {
        let all = self.keys.iter().chain(&self.earlier);
        let lacking = all.filter(|it| others.named(check_of(&it.key, self.site_id)).is_none());
        let mut lacking: Vec<_> = lacking.cloned().collect();
        lacking.sort_by_key(|site_key| site_key.number);
        lacking
    }

    /// Every one, by rising number.
    pub(crate) fn all(&self) -> &[SiteKey] {
        &self.keys
    }

    /// The key that wraps what is new.
    pub(crate) fn current(&self) -> &SiteKey {
        self.keys.last().expect("a site has a key: `open` and `first` see to it")
    }

    /// The key with this number.
    pub(crate) fn numbered(&self, number: u32) -> Option<&SiteKey> {
        self.keys.iter().find(|key| key.number == number)
    }

    /// The key a stored key's check names.
    pub(crate) fn named(&self, check: [u8; CHECK_BYTES]) -> Option<&SiteKey> {
        let mut all = self.keys.iter().chain(&self.earlier);
        all.find(|site_key| check_of(&site_key.key, self.site_id) == check)
    }
}

/// The keys of a site as they are stored: everything but the keys can be read without the key of keys.
#[derive(Clone, PartialEq, Eq)]
pub struct SiteObject {
    site_id: SiteId,
    generation: u32,
    wrapped: Wrapped,
    entries: Vec<Entry>,
    /// Bytes before the entries.
    head_bytes: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    number: u32,
    created_at: Timestamp,
    wrapped: [u8; WRAPPED_KEY_BYTES],
}

impl fmt::Debug for SiteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteObject({} under {})", self.name(), self.wrapped.kek)
    }
}

impl SiteObject {
    /// Reads the bytes of an object or file; `path` only tells errors where they come from.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Newer`].
    pub fn read(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |problem| Error::Damaged { path: path.to_owned(), problem };
        if bytes.len() > SITE_OBJECT_BYTES_MAX {
            return Err(damaged("its length is wrong"));
        }
        let mut reader = Reader(bytes);
        if reader.array() != Some(*MAGIC) {
            return Err(damaged("it does not begin like the keys of a site"));
        }
        let [version] = reader.array().ok_or_else(|| damaged("it is cut off"))?;
        if version != VERSION {
            return Err(Error::Newer { path: path.to_owned(), what: "version", number: version.into() });
        }
        check_crc(bytes).map_err(damaged)?;
        Self::parse(&mut reader, bytes, path)
    }

    fn parse(reader: &mut Reader<'_>, bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let short = || Error::Damaged { path: path.to_owned(), problem: "it is cut off" };
        let newer = |what, number: u8| Error::Newer { path: path.to_owned(), what, number: number.into() };
        let site_id = SiteId(reader.array().ok_or_else(short)?);
        let generation = u32::from_le_bytes(reader.array().ok_or_else(short)?);
        let _made_at: [u8; 8] = reader.array().ok_or_else(short)?;
        let [provider, algorithm, name_bytes] = reader.array().ok_or_else(short)?;
        let name = reader.bytes(name_bytes.into()).ok_or_else(short)?;
        let version = u32::from_le_bytes(reader.array().ok_or_else(short)?);
        let wrapped_bytes = u16::from_le_bytes(reader.array().ok_or_else(short)?);
        let wrapped = Wrapped {
            kek: KekName {
                provider: Provider::of(provider).ok_or_else(|| newer("provider", provider))?,
                name: String::from_utf8_lossy(name).into_owned(),
                version,
            },
            algorithm: Algorithm::of(algorithm).ok_or_else(|| newer("algorithm", algorithm))?,
            bytes: reader.bytes(wrapped_bytes.into()).ok_or_else(short)?.to_vec(),
        };
        let head_bytes = bytes.len() - reader.0.len() + 1;
        let entries = read_entries(reader).ok_or_else(short)?;
        Ok(Self { site_id, generation, wrapped, entries, head_bytes, bytes: bytes.to_vec() })
    }

    /// The site.
    #[must_use]
    pub fn site_id(&self) -> SiteId {
        self.site_id
    }

    /// Which object of the site, from 1; the highest counts.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The key of keys that opens it.
    #[must_use]
    pub fn kek(&self) -> &KekName {
        &self.wrapped.kek
    }

    /// Number of the newest site key inside.
    #[must_use]
    pub fn newest_number(&self) -> u32 {
        self.entries.last().map_or(0, |entry| entry.number)
    }

    /// True when all site keys of `other` are in this, and none that is newer: what is wrapped under those opens with this.
    #[must_use]
    pub fn holds_keys_of(&self, other: &Self) -> bool {
        let holds = |entry: &Entry| self.entries.iter().any(|ours| ours.number == entry.number);
        self.newest_number() == other.newest_number() && other.entries.iter().all(holds)
    }

    /// Its name in a bucket.
    #[must_use]
    pub fn name(&self) -> String {
        object_name(self.site_id, self.generation)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when an object of so many bytes below `v1/key/` may be the keys of a site: every other key has one length.
    #[must_use]
    pub fn may_have_length(bytes: u64) -> bool {
        bytes != KEY_FILE_BYTES as u64 && bytes <= SITE_OBJECT_BYTES_MAX as u64
    }

    pub(crate) fn seal(
        keys: &SiteKeys,
        generation: u32,
        kek: &Kek,
        now: Timestamp,
        random: &Random,
    ) -> Result<Self, Error> {
        let object_key: Key = Zeroizing::new(random.array());
        let name = object_name(keys.site_id, generation);
        let wrapped = kek.wrap(&object_key, name.as_bytes(), random)?;
        let too_long = || Error::KekRefused {
            keeper: "keeper",
            reason: "what it makes of a key is too long to be kept".to_owned(),
            advice: "use a key of another type",
        };
        let name_bytes = u8::try_from(wrapped.kek.name.len()).map_err(|_| too_long())?;
        let wrapped_bytes = u16::try_from(wrapped.bytes.len()).map_err(|_| too_long())?;
        let mut bytes = Vec::with_capacity(SITE_OBJECT_BYTES_MAX);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(keys.site_id.as_bytes());
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&now.0.to_le_bytes());
        bytes.extend_from_slice(&[wrapped.kek.provider.byte(), wrapped.algorithm.byte(), name_bytes]);
        bytes.extend_from_slice(wrapped.kek.name.as_bytes());
        bytes.extend_from_slice(&wrapped.kek.version.to_le_bytes());
        bytes.extend_from_slice(&wrapped_bytes.to_le_bytes());
        bytes.extend_from_slice(&wrapped.bytes);
        bytes.push(u8::try_from(keys.keys.len()).unwrap_or(u8::MAX));
        let head = bytes.clone();
        for site_key in &keys.keys {
            let (wrapping, associated_data) =
                entry_wrapping(&object_key, &head, site_key.number, site_key.created_at);
            bytes.extend_from_slice(&site_key.number.to_le_bytes());
            bytes.extend_from_slice(&site_key.created_at.0.to_le_bytes());
            bytes.extend_from_slice(&wrap_key(&wrapping, &site_key.key, &associated_data, random));
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Self::read(&bytes, Path::new("the keys of the site"))
    }

    /// The keys inside.
    pub(crate) fn open(&self, kek: &Kek, path: &Path) -> Result<SiteKeys, Error> {
        let object_key = kek.unwrap(&self.wrapped, self.name().as_bytes(), path)?;
        let damaged = || Error::Damaged { path: path.to_owned(), problem: "its key does not open" };
        let head = self.bytes.get(..self.head_bytes).ok_or_else(damaged)?;
        let open = |entry: &Entry| {
            let (wrapping, associated_data) =
                entry_wrapping(&object_key, head, entry.number, entry.created_at);
            let key = unwrap_key(&wrapping, &entry.wrapped, &associated_data).map_err(|_| damaged())?;
            Ok(SiteKey { number: entry.number, created_at: entry.created_at, key })
        };
        let keys: Vec<_> = self.entries.iter().map(open).collect::<Result<_, Error>>()?;
        Ok(SiteKeys { site_id: self.site_id, keys, earlier: Vec::new() })
    }
}

/// The name of a site's object in the bucket.
pub(crate) fn object_name(site_id: SiteId, generation: u32) -> String {
    format!("v1/key/{site_id}/{generation}")
}

/// How many keys, then the keys, by rising number; nothing after them but the checksum.
fn read_entries(reader: &mut Reader<'_>) -> Option<Vec<Entry>> {
    let [count] = reader.array()?;
    let mut entries: Vec<Entry> = Vec::with_capacity(usize::from(count).min(KEYS_MAX));
    for _ in 0..count {
        let entry = Entry {
            number: u32::from_le_bytes(reader.array()?),
            created_at: Timestamp(i64::from_le_bytes(reader.array()?)),
            wrapped: reader.array()?,
        };
        if entries.last().is_some_and(|before| before.number >= entry.number) {
            return None;
        }
        entries.push(entry);
    }
    let fits = (1..=KEYS_MAX).contains(&entries.len()) && reader.0.len() == CHECKSUM_BYTES;
    fits.then_some(entries)
}

/// Each key is bound to all that stands before the keys, to its number and to its time.
fn entry_wrapping(
    object_key: &[u8; KEY_BYTES],
    head: &[u8],
    number: u32,
    created_at: Timestamp,
) -> (WrappingKey, Vec<u8>) {
    let wrapping = WrappingKey::derive(object_key, "wrap site key", &number.to_le_bytes());
    (wrapping, [head, &number.to_le_bytes(), &created_at.0.to_le_bytes()].concat())
}
