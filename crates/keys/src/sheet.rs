//! The recovery sheet: what opens a site again when every machine is gone, as lines a person can print, keep in a safe and
//! type back. Each line carries a check of its own, so that a slip of the pen is found where it is.

use std::fmt::Write;

use argon2::{Algorithm, Argon2, Params, Version};
use filmgate_model::{Random, SiteId, Timestamp};
use filmgate_seal::{WrappingKey, open_bytes, seal_bytes};
use filmgate_spool::{read_file, write_durably};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    Error, FileKek, Kek, KeyRing,
    key_file::Reader,
    site::{SiteKey, SiteKeys},
};

/// Crockford's: no I, L, O, U, which hands and eyes mistake.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const MAGIC: [u8; 2] = *b"FR";
const VERSION: u8 = 0;
/// Bytes of the secret in one line: 16 letters.
const LINE_BYTES: usize = 10;
const LINE_LETTERS: usize = 16;
const CHECK_LETTERS: usize = 2;
/// More than any sheet has.
const LINES_MAX: usize = 99;
const KEYS_MAX: usize = 16;

const SALT_BYTES: usize = 16;
/// Argon2id (RFC 9106): 256 MiB, 3 passes, 1 lane; about a second.
const MEMORY_KIB: u32 = 256 * 1024;
const PASSES: u32 = 3;

/// Stands in the folder of keys once the sheet was typed back: what it was of, and when.
const CONFIRMED: &str = "sheet-confirmed";
const CONFIRMED_BYTES_MAX: u64 = 512;

const PLAIN: u8 = 0;
const UNDER_PASSPHRASE: u8 = 1;
const KEY_FILE: u8 = 1;
const SITE_KEYS: u8 = 2;

/// What restores a site.
pub struct Sheet {
    /// The site.
    pub site_id: SiteId,
    content: Content,
}

enum Content {
    /// The key file: the bucket holds what it opens.
    KeyFile(Zeroizing<[u8; 32]>),
    /// The keys of the site themselves, for a site whose key of keys cannot leave its keeper.
    SiteKeys(SiteKeys),
}

/// Why typed lines are no sheet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// A line was mistyped.
    #[error(
        "line {0} is not as it was printed: look at it again (there is no I, L, O or U; 0 and 1 are digits)"
    )]
    Line(usize),
    /// A line is missing, or stands twice.
    #[error("line {0} is missing")]
    Missing(usize),
    /// Every line is right, and they do not belong together.
    #[error("these lines are not of one recovery sheet, or of a newer version's")]
    NotASheet,
    /// The passphrase is needed, or is another.
    #[error("the passphrase is wrong")]
    Passphrase,
}

impl KeyRing {
    /// What goes on the recovery sheet: the key file, or the site's keys when the key of keys cannot leave its keeper.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn sheet(&self, kek: &Kek) -> Result<Sheet, Error> {
        match kek {
            Kek::File(kek) => {
                let content = Content::KeyFile(Zeroizing::new(*kek.as_bytes()));
                Ok(Sheet { site_id: self.site_id, content })
            }
            _ => self.site_sheet(),
        }
    }

    /// True when a sheet brings back what is in use now.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn is_restored_by(&self, sheet: &Sheet, kek: &Kek) -> Result<bool, Error> {
        if sheet.site_id != self.site_id {
            return Ok(false);
        }
        match (&sheet.content, kek) {
            (Content::KeyFile(key), Kek::File(kek)) => Ok(kek.as_bytes() == &**key),
            (Content::KeyFile(_), _) => Ok(false),
            (Content::SiteKeys(keys), _) => Ok(keys.current().key == self.site()?.current().key),
        }
    }

    /// Writes down that the sheet was typed back and is right; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn confirm_sheet(&self, kek: &Kek) -> Result<(), Error> {
        let path = self.folder.join(CONFIRMED);
        let text = format!("{} {}\n", self.sheet_of(!matches!(kek, Kek::File(_))), self.clock.now().0);
        write_durably(&*self.disk, &path, text.as_bytes())
            .map_err(Error::io("write that the sheet is right", path))
    }

    /// When the sheet of the keys in use was typed back; `None` when it was not yet, or a key on it changed since.
    #[must_use]
    pub fn sheet_confirmed_at(&self) -> Option<Timestamp> {
        let (of, at) = self.sheet_confirmation()?;
        let current = [false, true].map(|elsewhere| self.sheet_of(elsewhere));
        current.contains(&of).then_some(at)
    }

    /// What the sheet that was typed back is of, by name, and when it was; whether or not a key on it changed since.
    #[must_use]
    pub fn sheet_confirmation(&self) -> Option<(String, Timestamp)> {
        let bytes = read_file(&*self.disk, &self.folder.join(CONFIRMED), CONFIRMED_BYTES_MAX).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (of, at) = text.trim_end().split_once(' ')?;
        Some((of.to_owned(), Timestamp(at.parse().ok()?)))
    }

    /// Takes over that a sheet was typed back at another node, when it is of the keys in use; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take_sheet_confirmation(&self, of: &str, at: Timestamp) -> Result<(), Error> {
        let is_current = [false, true].map(|elsewhere| self.sheet_of(elsewhere)).iter().any(|now| now == of);
        if !is_current || self.sheet_confirmed_at().is_some_and(|known| known >= at) {
            return Ok(());
        }
        let path = self.folder.join(CONFIRMED);
        write_durably(&*self.disk, &path, format!("{of} {}\n", at.0).as_bytes())
            .map_err(Error::io("write that the sheet is right", path))
    }

    /// What a sheet of now would carry, by name: the key file, or the newest site key.
    fn sheet_of(&self, elsewhere: bool) -> String {
        let object = self.site_object();
        if elsewhere {
            format!("site-key-{}", object.newest_number())
        } else {
            format!("key-file-{}", object.kek().name)
        }
    }

    pub(crate) fn site_sheet(&self) -> Result<Sheet, Error> {
        Ok(Sheet { site_id: self.site_id, content: Content::SiteKeys(self.site()?.as_ref().clone()) })
    }
}

impl Sheet {
    /// The lines to print: number, four groups of four letters, a check of two.
    #[must_use]
    pub fn lines(&self, passphrase: Option<&str>, random: &Random) -> Vec<String> {
        let plain = self.plain();
        let mut bytes = Zeroizing::new([MAGIC.as_slice(), &[VERSION]].concat());
        match passphrase {
            None => {
                bytes.push(PLAIN);
                bytes.extend_from_slice(&plain);
            }
            Some(passphrase) => {
                bytes.push(UNDER_PASSPHRASE);
                let salt: [u8; SALT_BYTES] = random.array();
                bytes.extend_from_slice(&salt);
                let head = bytes.to_vec();
                bytes.extend_from_slice(&seal_bytes(&stretched(passphrase, &salt), &plain, &head, random));
            }
        }
        let whole = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
        let mut framed = Zeroizing::new([whole.as_slice(), &bytes].concat());
        let filled_bytes = framed.len().next_multiple_of(LINE_BYTES);
        framed.resize(filled_bytes, 0);
        framed.chunks(LINE_BYTES).enumerate().map(|(number, bytes)| line(number + 1, bytes)).collect()
    }

    /// The sheet in lines that were typed or scanned, in any order; spaces, dashes and small letters do not matter.
    ///
    /// # Errors
    /// [`SheetError`].
    pub fn of_lines(text: &str, passphrase: Option<&str>) -> Result<Self, SheetError> {
        let framed = join(text)?;
        let mut reader = Reader(&framed);
        let whole = u16::from_le_bytes(reader.array().ok_or(SheetError::NotASheet)?);
        let bytes = reader.bytes(whole.into()).ok_or(SheetError::NotASheet)?;
        let mut reader = Reader(bytes);
        if reader.array() != Some(MAGIC) || reader.array() != Some([VERSION]) {
            return Err(SheetError::NotASheet);
        }
        match reader.array() {
            Some([PLAIN]) => Self::parse(reader.0),
            Some([UNDER_PASSPHRASE]) => {
                let salt: [u8; SALT_BYTES] = reader.array().ok_or(SheetError::NotASheet)?;
                let head = &bytes[..bytes.len() - reader.0.len()];
                let key = stretched(passphrase.ok_or(SheetError::Passphrase)?, &salt);
                let plain = open_bytes(&key, reader.0, head).map_err(|_| SheetError::Passphrase)?;
                Self::parse(&plain)
            }
            _ => Err(SheetError::NotASheet),
        }
    }

    /// True for lines that need a passphrase.
    ///
    /// # Errors
    /// [`SheetError`].
    pub fn needs_passphrase(text: &str) -> Result<bool, SheetError> {
        join(text)?.get(5).map(|&how| how == UNDER_PASSPHRASE).ok_or(SheetError::NotASheet)
    }

    /// The key file it carries; `None` when it carries the keys of the site themselves.
    #[must_use]
    pub fn key_file(&self) -> Option<FileKek> {
        match &self.content {
            Content::KeyFile(key) => Some(FileKek::of(key)),
            Content::SiteKeys(_) => None,
        }
    }

    /// The keys of the site it carries; `None` when it carries a key file.
    pub(crate) fn site_keys(&self) -> Option<&SiteKeys> {
        match &self.content {
            Content::KeyFile(_) => None,
            Content::SiteKeys(keys) => Some(keys),
        }
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(self.site_id.as_bytes().to_vec());
        match &self.content {
            Content::KeyFile(key) => {
                bytes.push(KEY_FILE);
                bytes.extend_from_slice(key.as_slice());
            }
            Content::SiteKeys(keys) => {
                bytes.push(SITE_KEYS);
                bytes.push(u8::try_from(keys.all().len()).unwrap_or(u8::MAX));
                for site_key in keys.all() {
                    bytes.extend_from_slice(&site_key.number.to_le_bytes());
                    bytes.extend_from_slice(&site_key.created_at.0.to_le_bytes());
                    bytes.extend_from_slice(site_key.key.as_slice());
                }
            }
        }
        bytes
    }

    fn parse(plain: &[u8]) -> Result<Self, SheetError> {
        let mut reader = Reader(plain);
        let site_id = SiteId(reader.array().ok_or(SheetError::NotASheet)?);
        let content = match reader.array() {
            Some([KEY_FILE]) => reader.array().map(|key| Content::KeyFile(Zeroizing::new(key))),
            Some([SITE_KEYS]) => parse_site_keys(&mut reader, site_id).map(Content::SiteKeys),
            _ => None,
        };
        let content = content.filter(|_| reader.0.is_empty()).ok_or(SheetError::NotASheet)?;
        Ok(Self { site_id, content })
    }
}

fn parse_site_keys(reader: &mut Reader<'_>, site_id: SiteId) -> Option<SiteKeys> {
    let [count] = reader.array()?;
    let mut keys = Vec::with_capacity(usize::from(count).min(KEYS_MAX));
    for _ in 0..count {
        keys.push(SiteKey {
            number: u32::from_le_bytes(reader.array()?),
            created_at: Timestamp(i64::from_le_bytes(reader.array()?)),
            key: Zeroizing::new(reader.array()?),
        });
    }
    SiteKeys::of(site_id, keys)
}

/// A passphrase is guessed by machines: each guess is made to cost.
fn stretched(passphrase: &str, salt: &[u8]) -> WrappingKey {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).expect("within what Argon2 takes");
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .expect("the salt has 16 bytes, the key 32");
    WrappingKey::derive(&key, "recovery sheet", &[])
}

fn line(number: usize, bytes: &[u8]) -> String {
    let mut text = format!("{number:02} ");
    for (place, letter) in letters(bytes, LINE_LETTERS).into_iter().enumerate() {
        if place % 4 == 0 {
            text.push(' ');
        }
        text.push(letter);
    }
    let check: String = check_of(number, bytes).into_iter().collect();
    write!(text, "  {check}").expect("a string takes what is written");
    text
}

/// Ten bits of a checksum over number and bytes.
fn check_of(number: usize, bytes: &[u8]) -> Vec<char> {
    let sum = crc32c::crc32c(&[&[number as u8], bytes].concat());
    [sum >> 27, sum >> 22 & 31].map(|five| char::from(LETTERS[five as usize])).to_vec()
}

fn letters(bytes: &[u8], count: usize) -> Vec<char> {
    let bit = |place: usize| bytes.get(place / 8).map_or(0, |byte| byte >> (7 - place % 8) & 1);
    let five = |letter: usize| (0..5).fold(0, |five, place| five << 1 | bit(letter * 5 + place));
    (0..count).map(|letter| char::from(LETTERS[usize::from(five(letter))])).collect()
}

/// The bytes of all lines, each checked.
fn join(text: &str) -> Result<Zeroizing<Vec<u8>>, SheetError> {
    let mut lines: Vec<Option<[u8; LINE_BYTES]>> = Vec::new();
    for (place, typed) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        let (number, bytes) = read_line(typed).ok_or(SheetError::Line(place + 1))?;
        if lines.len() < number {
            lines.resize(number, None);
        }
        lines[number - 1] = Some(bytes);
    }
    let mut whole = Zeroizing::new(Vec::with_capacity(lines.len() * LINE_BYTES));
    for (place, bytes) in lines.iter().enumerate() {
        whole.extend_from_slice(bytes.as_ref().ok_or(SheetError::Missing(place + 1))?);
    }
    lines.iter_mut().for_each(Zeroize::zeroize);
    let expected = whole.first_chunk().map(|bytes| usize::from(u16::from_le_bytes(*bytes)) + 2);
    let needed = expected.ok_or(SheetError::Missing(1))?.div_ceil(LINE_BYTES);
    if lines.len() < needed.min(LINES_MAX) { Err(SheetError::Missing(lines.len() + 1)) } else { Ok(whole) }
}

fn read_line(typed: &str) -> Option<(usize, [u8; LINE_BYTES])> {
    let plain = |letter: char| match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        letter => letter,
    };
    let typed: String = typed.chars().filter(|letter| letter.is_ascii_alphanumeric()).map(plain).collect();
    if typed.len() != 2 + LINE_LETTERS + CHECK_LETTERS {
        return None;
    }
    let number: usize = typed[..2].parse().ok().filter(|number| (1..=LINES_MAX).contains(number))?;
    let mut bytes = [0; LINE_BYTES];
    for (letter, typed) in typed[2..2 + LINE_LETTERS].bytes().enumerate() {
        let five = LETTERS.iter().position(|&known| known == typed)?;
        for place in 0..5 {
            let bit = letter * 5 + place;
            bytes[bit / 8] |= ((five >> (4 - place) & 1) as u8) << (7 - bit % 8);
        }
    }
    let check: String = check_of(number, &bytes).into_iter().collect();
    (typed[2 + LINE_LETTERS..] == check).then_some((number, bytes))
}
