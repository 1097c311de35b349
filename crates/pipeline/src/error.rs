//! What can go wrong on the road.

use std::io;

use filmgate_model::{NodeId, PackId, RecordId, Timestamp};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The local disk.
    #[error("use the local disk")]
    Spool(#[from] filmgate_spool::Error),
    /// A file of the local disk.
    #[error("read or write a local file")]
    Io(#[from] io::Error),
    /// A record or pack does not open.
    #[error("open what was sealed")]
    Seal(#[from] filmgate_seal::Error),
    /// The keys.
    #[error("use the keys")]
    Keys(#[from] filmgate_keys::Error),
    /// The catalog.
    #[error("use the catalog")]
    Catalog(#[from] filmgate_catalog::Error),
    /// A bucket.
    #[error("use the bucket")]
    Bucket(#[from] filmgate_bucket::Error),
    /// Bytes of the bucket's log.
    #[error("use the bucket's log")]
    Log(#[from] filmgate_log::Error),
    /// What an export of the book says cannot be read.
    #[error("read the document of the book: {0}")]
    BookDocument(String),
    /// The bucket's log holds another history of this data directory.
    #[error("batch {sequence} of this data directory's log is another one in the bucket")]
    Forked {
        /// The batch.
        sequence: u64,
    },
    /// A batch of a log is missing.
    #[error("object {name} is missing, and later ones are there")]
    LogGap {
        /// The batch.
        name: String,
    },
    /// An object was put and does not come back as it was.
    #[error("object {name} does not come back as it was put")]
    NotPlaced {
        /// The object.
        name: String,
    },
    /// Instances that cannot be understood take all they may.
    #[error("the quarantine is full; look at what is in it, or raise quarantine.bytes_max")]
    QuarantineFull,
    /// This node has not the role to receive.
    #[error("this node follows others and receives nothing; send to the gateway it follows")]
    NoReceiver,
    /// This node follows: what is decided here would bind nobody.
    #[error("this node follows others and decides nothing; do it at a gateway of the site")]
    DecidesNothing,
    /// A sender named another study than the instance is of.
    #[error("the instance is of another study than the request")]
    OtherStudy,
    /// A record that was to be packed cannot be read or opened.
    #[error("pack record {record_id}")]
    Record {
        /// The record.
        record_id: RecordId,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A record opens to other bytes than were received.
    #[error("record {0} does not open to the bytes that were received")]
    NotAsReceived(RecordId),
    /// Its elements are too many to be said as metadata.
    #[error("the metadata is longer than {0} bytes")]
    MetadataTooLong(usize),
    /// An instance without frames, or without any that can be told apart.
    #[error("{0}")]
    NoFrames(&'static str),
    /// It has fewer frames.
    #[error("there is no frame {frame}: it has {frames}")]
    NoSuchFrame {
        /// The frame asked for.
        frame: u32,
        /// How many there are.
        frames: u32,
    },
    /// Pixels that cannot be decoded, shown or encoded.
    #[error("{0}")]
    Pixels(#[from] filmgate_pixels::Error),
    /// No such record.
    #[error("record {0} is not here")]
    NotFound(RecordId),
    /// A record is known, and its bytes are nowhere.
    #[error("the bytes of record {0} are neither in the journal, in a local pack nor in a bucket")]
    Lost(RecordId),
    /// Only another node of the site has the bytes, and they are not to be had from it now.
    #[error(
        "record {record_id} is held by node {node_id}, which does not give it: it comes back with the node, or when its \
         data directory is adopted"
    )]
    Held {
        /// The record.
        record_id: RecordId,
        /// Who holds it.
        node_id: NodeId,
        /// Why it does not; `None` when nobody knows where it is reached.
        #[source]
        source: Option<Box<Error>>,
    },
    /// What came back is not what was sent.
    #[error("pack {pack_id}: {what}")]
    Differs {
        /// The pack.
        pack_id: PackId,
        /// What differs.
        what: &'static str,
    },
    /// The site's keys in a bucket are not those of this node.
    #[error("{0} came back different: until it is right, nothing there counts as verified")]
    SiteKeyDiffers(String),
    /// Another node changed the keys of the site.
    #[error(
        "another node changed the keys of the site: they stand as generation {generation} under {kek}. This node takes them \
         over when its settings name that key of keys (a key file: put the new one in the place of node.key_file; else \
         [keys], and start again)"
    )]
    SiteKeysChanged {
        /// The generation that counts.
        generation: u32,
        /// What opens it.
        kek: String,
    },
    /// Another node changes the keys of the site now.
    #[error(
        "node {node_id} is changing the keys of the site, heard at {held_at}: call again when it is done; if it was cut off, \
         five minutes after that"
    )]
    RotatedElsewhere {
        /// The node.
        node_id: NodeId,
        /// Its last sign of life.
        held_at: Timestamp,
    },
    /// Other nodes may not have seen the new site key.
    #[error(
        "the site key was changed less than keys.rotation_grace_ms ago; other nodes may not have seen it: call again later, \
         or with --now if there are none"
    )]
    NotSettled,
    /// The site asks for a recovery sheet before anything is called safe, and there is none.
    #[error(
        "no recovery sheet was confirmed, and keys.require_backup asks for one first: `filmgate key backup`, then `filmgate \
         key confirm`"
    )]
    NoBackup,
    /// The local file of a pack is not what was written.
    #[error("pack {0}: its local file is not what was written")]
    LocalDiffers(PackId),
    /// Work off the async threads panicked.
    #[error("a computation was cut off")]
    Cut(#[from] tokio::task::JoinError),
}

impl Error {
    /// True when the journal cannot take more now: the sender should come again later (status 0xA700).
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        matches!(
            self,
            Self::QuarantineFull
                | Self::NoReceiver
                | Self::Spool(filmgate_spool::Error::NoRoom | filmgate_spool::Error::Closed)
        )
    }

    /// True when an instance shows nothing: it is no image.
    #[must_use]
    pub fn is_no_image(&self) -> bool {
        matches!(self, Self::NoFrames(_) | Self::Pixels(filmgate_pixels::Error::NoPixels))
    }

    /// True when the key provider stayed away past its lease: what was asked works again when it answers.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match self {
            Self::Keys(error) => matches!(error, filmgate_keys::Error::Locked { .. }),
            Self::Record { source, .. } => source.is_locked(),
            _ => false,
        }
    }

    /// True when trying the same again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Spool(error) => error.is_permanent(),
            Self::Seal(error) => error.is_permanent(),
            // Another node may have changed the site's keys: they are looked for, and then it opens.
            Self::Keys(filmgate_keys::Error::Wrong { .. }) => false,
            Self::Keys(error) => error.is_permanent(),
            Self::Catalog(error) => error.is_permanent(),
            Self::Bucket(error) => error.is_permanent(),
            Self::Log(error) => error.is_permanent(),
            Self::NotFound(_)
            | Self::NotAsReceived(_)
            | Self::Lost(_)
            | Self::Differs { .. }
            | Self::LocalDiffers(_)
            | Self::OtherStudy
            | Self::NoReceiver
            | Self::DecidesNothing
            | Self::BookDocument(_)
            | Self::MetadataTooLong(_)
            | Self::NoFrames(_)
            | Self::NoSuchFrame { .. } => true,
            Self::Pixels(error) => error.is_permanent(),
            Self::Record { source, .. } => source.is_permanent(),
            Self::Io(_)
            | Self::Cut(_)
            | Self::QuarantineFull
            | Self::SiteKeyDiffers(_)
            | Self::SiteKeysChanged { .. }
            | Self::NoBackup
            | Self::NotSettled
            | Self::RotatedElsewhere { .. }
            | Self::Forked { .. }
            | Self::LogGap { .. }
            | Self::NotPlaced { .. }
            | Self::Held { .. } => false,
        }
    }
}

impl Error {
    /// True when what was asked may work again when a bucket or a provider of keys is back. What a bucket lacks does not.
    pub(crate) fn may_pass(&self) -> bool {
        let lacks = matches!(self, Self::Bucket(filmgate_bucket::Error::NotFound(_)));
        !lacks && !self.is_permanent()
    }

    /// What is told when another copy was asked because of this error, and failed as well: nothing is known to be lost
    /// while a copy may come back.
    pub(crate) fn unless_passing(self, other: Self) -> Self {
        if other.may_pass() { other } else { self }
    }

    /// As told of a record that another node holds: whatever it sent us is no proof that the record is not whole there. One
    /// that it has no more may have gone into a bucket, and is looked up again.
    pub(crate) fn held_by(self, node_id: NodeId, record_id: RecordId) -> Self {
        match self {
            Self::Held { .. } | Self::Bucket(filmgate_bucket::Error::NotFound(_)) => self,
            error if error.is_locked() => error,
            error => Self::Held { record_id, node_id, source: Some(Box::new(error)) },
        }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        Error::Bucket(filmgate_bucket::Error::Unavailable { reason: "away".into(), retry_after: None })
    }

    #[test]
    fn what_another_node_sent_is_no_proof_against_its_record() {
        let (node_id, record_id) = (NodeId([2; 16]), RecordId([7; 16]));
        for error in [Error::NotAsReceived(record_id), Error::Lost(record_id), away()] {
            let told = error.held_by(node_id, record_id);
            assert!(matches!(told, Error::Held { .. }) && !told.is_permanent(), "{told}");
        }
        let gone = Error::Bucket(filmgate_bucket::Error::NotFound("records".into()));
        assert!(matches!(gone.held_by(node_id, record_id), Error::Bucket(_)), "it is looked up again");
    }

    #[test]
    fn nothing_is_lost_for_good_while_a_copy_may_come_back() {
        let rotten = || Error::NotAsReceived(RecordId([7; 16]));
        assert!(!rotten().unless_passing(away()).is_permanent());
        let lacks = Error::Bucket(filmgate_bucket::Error::NotFound("v1/pack".into()));
        assert!(rotten().unless_passing(lacks).is_permanent(), "no copy will come back");
    }
}
