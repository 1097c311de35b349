//! What facts say, one kind a case, and the bytes of each (FORMAT.md, Facts).
//!
//! A kind's layout never changes: what has more to say is a new kind, and older readers keep it as [`Body::Unknown`].

use filmgate_model::{FactId, IncarnationId, NodeId, PackId, RecordId, StudyKeyId, Timestamp};
use filmgate_seal::wire::{Reader, put_bytes, put_varint};

use crate::error::{Error, fits, malformed};

/// Bytes of a text at most: a UID, a name, a reason.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Bytes of a correction's value at most.
pub const CORRECTION_BYTES_MAX: usize = 8 * 1024;
/// Ids in one list at most.
pub const IDS_MAX: usize = 512;

const WHAT: &str = "fact";

/// Who did something, and why: for people to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Why {
    /// Who: the name of a user or a rule.
    pub who: String,
    /// Why.
    pub reason: String,
}

/// A pack that is verified in every required placement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackVerified {
    /// The pack.
    pub pack_id: PackId,
    /// The node that made it or took it over: only that one deletes it.
    pub owner: NodeId,
    /// The key its footer is sealed under.
    pub study_key_id: StudyKeyId,
    /// The study its records are of.
    pub study_instance_uid: String,
    /// Holds records that could not be understood.
    pub quarantine: bool,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// All of a study.
    Study(String),
    /// One instance of it.
    Instance {
        /// The study.
        study: String,
        /// Its SOP Instance UID.
        sop: String,
    },
}

impl Target {
    /// The study it is in.
    #[must_use]
    pub fn study(&self) -> &str {
        match self {
            Self::Study(study) | Self::Instance { study, .. } => study,
        }
    }
}

/// One version of something that people correct: a patient's name, a setting of the site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Correction {
    /// What is corrected.
    pub subject: String,
    /// What it is from now on, in a form its reader knows.
    pub value: Vec<u8>,
    /// Who and why.
    pub why: Why,
}

/// What a fact says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// A pack is verified.
    PackVerified(PackVerified),
    /// The records of some packs are in another one.
    PackReplaced {
        /// The packs that may go.
        replaced: Vec<PackId>,
        /// The verified pack that holds their records.
        by: PackId,
    },
    /// A pack's object is gone, or will be.
    PackDeleted {
        /// The pack.
        pack_id: PackId,
        /// Who and why.
        why: Why,
    },
    /// Somebody asks for a deletion; nothing goes yet.
    DeleteRequested {
        /// What.
        target: Target,
        /// Who and why.
        why: Why,
    },
    /// The records a deletion names: these go, and nothing that comes later. As many facts as it takes.
    DeleteNames {
        /// The request.
        request: FactId,
        /// Some of its records.
        records: Vec<RecordId>,
    },
    /// The deletion is meant: what it names is hidden from here on, and goes after its grace.
    DeleteConfirmed {
        /// The request.
        request: FactId,
        /// Nothing goes before.
        due_at: Timestamp,
        /// Who and why.
        why: Why,
    },
    /// The deletion is taken back: what has not gone is as it was before.
    DeleteWithdrawn {
        /// The request.
        request: FactId,
        /// Who and why.
        why: Why,
    },
    /// All that a deletion names is gone.
    DeleteDone {
        /// The request.
        request: FactId,
    },
    /// Nothing of the study may be deleted until it is released.
    Hold {
        /// The study.
        study: String,
        /// Who and why.
        why: Why,
    },
    /// A hold ends.
    HoldReleased {
        /// The hold.
        hold: FactId,
        /// Its study.
        study: String,
        /// Who and why.
        why: Why,
    },
    /// Nothing of the study may be deleted before a time. It can be prolonged, not shortened.
    Retention {
        /// The study.
        study: String,
        /// Until when.
        until: Timestamp,
        /// Who and why.
        why: Why,
    },
    /// A node has destroyed its copy of a study's key.
    KeyShredded {
        /// The key.
        study_key_id: StudyKeyId,
        /// Who and why.
        why: Why,
    },
    /// A key was wrapped anew.
    KeyGeneration {
        /// The key.
        key_id: [u8; 16],
        /// Its generation.
        generation: u32,
    },
    /// The node that states this has taken over a dead node's data directory.
    NodeAdopted {
        /// The dead node.
        node: NodeId,
        /// The incarnation its log ended with, which states nothing any more.
        incarnation: IncarnationId,
    },
    /// The node lives, and has read the others so far.
    Heartbeat {
        /// The last batch read of each other incarnation.
        read: Vec<(IncarnationId, u64)>,
    },
    /// A person corrects something.
    Correction(Correction),
    /// The node keeps every study so long: nobody of the site deletes it sooner. Its last word counts.
    RetentionRule {
        /// From the date of the study or its receipt, whichever is later.
        years: u32,
    },
    /// Of a kind that a newer version knows.
    Unknown {
        /// Its kind.
        kind: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// A kind's name, for counts and reports.
pub type KindName = &'static str;

impl Body {
    /// The number of its kind as stored.
    #[must_use]
    pub fn kind(&self) -> u64 {
        match self {
            Self::PackVerified(_) => 1,
            Self::PackReplaced { .. } => 2,
            Self::PackDeleted { .. } => 3,
            Self::DeleteRequested { .. } => 4,
            Self::DeleteConfirmed { .. } => 5,
            Self::Hold { .. } => 6,
            Self::HoldReleased { .. } => 7,
            Self::Retention { .. } => 8,
            Self::KeyShredded { .. } => 9,
            Self::KeyGeneration { .. } => 10,
            Self::NodeAdopted { .. } => 11,
            Self::Heartbeat { .. } => 12,
            Self::Correction(_) => 13,
            Self::DeleteNames { .. } => 14,
            Self::DeleteWithdrawn { .. } => 15,
            Self::DeleteDone { .. } => 16,
            Self::RetentionRule { .. } => 17,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> KindName {
        match self {
            Self::PackVerified(_) => "pack-verified",
            Self::PackReplaced { .. } => "pack-replaced",
            Self::PackDeleted { .. } => "pack-deleted",
            Self::DeleteRequested { .. } => "delete-requested",
            Self::DeleteConfirmed { .. } => "delete-confirmed",
            Self::Hold { .. } => "hold",
            Self::HoldReleased { .. } => "hold-released",
            Self::Retention { .. } => "retention",
            Self::KeyShredded { .. } => "key-shredded",
            Self::KeyGeneration { .. } => "key-generation",
            Self::NodeAdopted { .. } => "node-adopted",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Correction(_) => "correction",
            Self::DeleteNames { .. } => "delete-names",
            Self::DeleteWithdrawn { .. } => "delete-withdrawn",
            Self::DeleteDone { .. } => "delete-done",
            Self::RetentionRule { .. } => "retention-rule",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Its bytes, without its kind.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(192);
        match self {
            Self::PackVerified(pack) => put_pack(&mut out, pack)?,
            Self::PackReplaced { replaced, by } => {
                out.extend_from_slice(by.as_bytes());
                put_varint(&mut out, fits("a list of packs", replaced.len(), IDS_MAX)? as u64);
                replaced.iter().for_each(|pack_id| out.extend_from_slice(pack_id.as_bytes()));
            }
            Self::PackDeleted { pack_id, why } => {
                out.extend_from_slice(pack_id.as_bytes());
                put_why(&mut out, why)?;
            }
            Self::DeleteRequested { target, why } => {
                put_target(&mut out, target)?;
                put_why(&mut out, why)?;
            }
            Self::DeleteNames { request, records } => {
                out.extend_from_slice(request.as_bytes());
                put_varint(&mut out, fits("a list of records", records.len(), IDS_MAX)? as u64);
                records.iter().for_each(|record_id| out.extend_from_slice(record_id.as_bytes()));
            }
            Self::DeleteConfirmed { request, due_at, why } => {
                out.extend_from_slice(request.as_bytes());
                out.extend_from_slice(&due_at.0.to_le_bytes());
                put_why(&mut out, why)?;
            }
            Self::DeleteWithdrawn { request, why } => {
                out.extend_from_slice(request.as_bytes());
                put_why(&mut out, why)?;
            }
            Self::DeleteDone { request } => out.extend_from_slice(request.as_bytes()),
            Self::Hold { study, why } => {
                put_text(&mut out, study)?;
                put_why(&mut out, why)?;
            }
            Self::HoldReleased { hold, study, why } => {
                out.extend_from_slice(hold.as_bytes());
                put_text(&mut out, study)?;
                put_why(&mut out, why)?;
            }
            Self::Retention { study, until, why } => {
                put_text(&mut out, study)?;
                out.extend_from_slice(&until.0.to_le_bytes());
                put_why(&mut out, why)?;
            }
            Self::KeyShredded { study_key_id, why } => {
                out.extend_from_slice(study_key_id.as_bytes());
                put_why(&mut out, why)?;
            }
            Self::KeyGeneration { key_id, generation } => {
                out.extend_from_slice(key_id);
                out.extend_from_slice(&generation.to_le_bytes());
            }
            Self::NodeAdopted { node, incarnation } => {
                out.extend_from_slice(node.as_bytes());
                out.extend_from_slice(incarnation.as_bytes());
            }
            Self::Heartbeat { read } => {
                put_varint(&mut out, fits("a list of incarnations", read.len(), IDS_MAX)? as u64);
                for (incarnation, sequence) in read {
                    out.extend_from_slice(incarnation.as_bytes());
                    put_varint(&mut out, *sequence);
                }
            }
            Self::Correction(correction) => {
                put_text(&mut out, &correction.subject)?;
                fits("a correction", correction.value.len(), CORRECTION_BYTES_MAX)?;
                put_bytes(&mut out, &correction.value);
                put_why(&mut out, &correction.why)?;
            }
            Self::RetentionRule { years } => out.extend_from_slice(&years.to_le_bytes()),
            Self::Unknown { bytes, .. } => out.extend_from_slice(bytes),
        }
        Ok(out)
    }

    /// The body of these bytes.
    ///
    /// # Errors
    /// When they are malformed; those of a kind not known here never are.
    pub fn from_bytes(kind: u64, bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        let body = match kind {
            1 => Self::PackVerified(pack(&mut reader)?),
            2 => Self::PackReplaced { by: PackId(reader.array()?), replaced: packs(&mut reader)? },
            3 => Self::PackDeleted { pack_id: PackId(reader.array()?), why: why(&mut reader)? },
            4 => Self::DeleteRequested { target: target(&mut reader)?, why: why(&mut reader)? },
            5 => Self::DeleteConfirmed {
                request: FactId(reader.array()?),
                due_at: time(&mut reader)?,
                why: why(&mut reader)?,
            },
            6 => Self::Hold { study: text(&mut reader)?, why: why(&mut reader)? },
            7 => Self::HoldReleased {
                hold: FactId(reader.array()?),
                study: text(&mut reader)?,
                why: why(&mut reader)?,
            },
            8 => Self::Retention {
                study: text(&mut reader)?,
                until: time(&mut reader)?,
                why: why(&mut reader)?,
            },
            9 => Self::KeyShredded { study_key_id: StudyKeyId(reader.array()?), why: why(&mut reader)? },
            10 => Self::KeyGeneration { key_id: reader.array()?, generation: reader.u32()? },
            11 => Self::NodeAdopted {
                node: NodeId(reader.array()?),
                incarnation: IncarnationId(reader.array()?),
            },
            12 => Self::Heartbeat { read: incarnations(&mut reader)? },
            13 => Self::Correction(correction(&mut reader)?),
            14 => Self::DeleteNames { request: FactId(reader.array()?), records: records(&mut reader)? },
            15 => Self::DeleteWithdrawn { request: FactId(reader.array()?), why: why(&mut reader)? },
            16 => Self::DeleteDone { request: FactId(reader.array()?) },
            17 => Self::RetentionRule { years: reader.u32()? },
            kind => return Ok(Self::Unknown { kind, bytes: bytes.to_vec() }),
        };
        reader.end()?;
        Ok(body)
    }
}

fn put_pack(out: &mut Vec<u8>, pack: &PackVerified) -> Result<(), Error> {
    out.extend_from_slice(pack.pack_id.as_bytes());
    out.extend_from_slice(pack.owner.as_bytes());
    out.extend_from_slice(pack.study_key_id.as_bytes());
    out.push(u8::from(pack.quarantine));
    out.extend_from_slice(&pack.bytes.to_le_bytes());
    out.extend_from_slice(&pack.sha256);
    out.extend_from_slice(&pack.created_at.0.to_le_bytes());
    put_text(out, &pack.study_instance_uid)
}

fn pack(reader: &mut Reader<'_>) -> Result<PackVerified, Error> {
    Ok(PackVerified {
        pack_id: PackId(reader.array()?),
        owner: NodeId(reader.array()?),
        study_key_id: StudyKeyId(reader.array()?),
        quarantine: match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(malformed(WHAT, "flag is neither 0 nor 1")),
        },
        bytes: reader.u64()?,
        sha256: reader.array()?,
        created_at: time(reader)?,
        study_instance_uid: text(reader)?,
    })
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    fits("a text", text.len(), TEXT_BYTES_MAX)?;
    put_bytes(out, text.as_bytes());
    Ok(())
}

fn text(reader: &mut Reader<'_>) -> Result<String, Error> {
    let text = reader.text()?;
    fits("a text", text.len(), TEXT_BYTES_MAX)?;
    Ok(text)
}

fn put_why(out: &mut Vec<u8>, why: &Why) -> Result<(), Error> {
    put_text(out, &why.who)?;
    put_text(out, &why.reason)
}

fn why(reader: &mut Reader<'_>) -> Result<Why, Error> {
    Ok(Why { who: text(reader)?, reason: text(reader)? })
}

fn put_target(out: &mut Vec<u8>, target: &Target) -> Result<(), Error> {
    let (kind, study, sop) = match target {
        Target::Study(study) => (0, study, None),
        Target::Instance { study, sop } => (1, study, Some(sop)),
    };
    out.push(kind);
    put_text(out, study)?;
    sop.map_or(Ok(()), |sop| put_text(out, sop))
}

fn target(reader: &mut Reader<'_>) -> Result<Target, Error> {
    match reader.u8()? {
        0 => Ok(Target::Study(text(reader)?)),
        1 => Ok(Target::Instance { study: text(reader)?, sop: text(reader)? }),
        _ => Err(malformed(WHAT, "neither a study nor an instance")),
    }
}

fn correction(reader: &mut Reader<'_>) -> Result<Correction, Error> {
    let (subject, value) = (text(reader)?, reader.bytes()?);
    fits("a correction", value.len(), CORRECTION_BYTES_MAX)?;
    Ok(Correction { subject, value: value.to_vec(), why: why(reader)? })
}

fn time(reader: &mut Reader<'_>) -> Result<Timestamp, Error> {
    Ok(Timestamp(i64::from_le_bytes(reader.array()?)))
}

fn packs(reader: &mut Reader<'_>) -> Result<Vec<PackId>, Error> {
    let count = fits("a list of packs", reader.count(16)?, IDS_MAX)?;
    (0..count).map(|_| Ok(PackId(reader.array()?))).collect()
}

fn records(reader: &mut Reader<'_>) -> Result<Vec<RecordId>, Error> {
    let count = fits("a list of records", reader.count(16)?, IDS_MAX)?;
    (0..count).map(|_| Ok(RecordId(reader.array()?))).collect()
}

fn incarnations(reader: &mut Reader<'_>) -> Result<Vec<(IncarnationId, u64)>, Error> {
    let count = fits("a list of incarnations", reader.count(17)?, IDS_MAX)?;
    (0..count).map(|_| Ok((IncarnationId(reader.array()?), reader.varint()?))).collect()
}
