//! Step 1: bytes from a door are sealed, journaled and synced; only then may the sender hear a success.
//!
//! Both doors enter here: C-STORE from an association's thread, STOW-RS from a request. Nothing is looked up and
//! nothing is deduplicated on this step: every arrival is journaled.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering},
};

use filmgate_model::{Door, Identity, Provenance, RecordId, tags, text::How};
use filmgate_seal::{Reading, RecordKey, RecordSealer, RecordTable};
use filmgate_spool::{RecordWriter, Situation, Ticket};

use crate::{Error, IdleCores, Road, Role, idle_cores::Arriving, index};

/// How a received instance is answered; in every case its bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what it was announced to be.
    Accepted,
    /// The dataset names another SOP class or instance than the command; quarantined.
    Mismatched(&'static str),
    /// The dataset could not be read to its end; quarantined with this reason.
    NotUnderstood(String),
}

impl Verdict {
    /// Why the instance is quarantined; `None` when it is not.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted => None,
            Self::Mismatched(reason) => Some(reason),
            Self::NotUnderstood(reason) => Some(reason),
        }
    }

    /// Judges an instance by what was read of it and what was announced.
    pub(crate) fn of(table: &RecordTable) -> Self {
        if let Reading::Broken(reason) = &table.reading {
            return Self::NotUnderstood(reason.clone());
        }
        let differs = |announced: &str, tag| {
            let stated = table.facts.text(tag);
            !announced.is_empty() && stated.is_some_and(|stated| stated != announced.trim_end())
        };
        // Only a C-STORE command announces what must then follow (PS3.4 B.2.3); a file's own meta information does not.
        match table.provenance.door {
            Door::CStore if differs(&table.provenance.sop_instance_uid, tags::SOP_INSTANCE_UID) => {
                Self::Mismatched("the dataset's SOP Instance UID is not the command's")
            }
            Door::CStore if differs(&table.provenance.sop_class_uid, tags::SOP_CLASS_UID) => {
                Self::Mismatched("the dataset's SOP Class UID is not the command's")
            }
            _ => Self::Accepted,
        }
    }
}

/// Why nothing is taken in for the moment; it passes without a hand, or with one at the disk or the key provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The local disk has no room.
    NoRoom,
    /// The key provider stayed away past its lease.
    KeysLocked,
}

impl Refusal {
    /// The words for it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoRoom => "no room on the local disk",
            Self::KeysLocked => "the key provider is away and its lease has ended",
        }
    }
}

/// An instance that is arriving.
pub struct Receiving {
    road: Arc<Road>,
    record_id: RecordId,
    key: RecordKey,
    sealer: RecordSealer,
    writer: RecordWriter,
    sealed: Sealed,
    _arriving: Option<Arriving>,
}

/// A chunk of the default size that does not shrink, and a little.
const SEALED_BYTES: usize = 272 * 1024;

/// Sealed bytes on their way from the sealer to the journal; a thread keeps the buffer for its next instance.
struct Sealed(Vec<u8>);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Sealed {
    fn new() -> Self {
        let mut spare = SPARE.take();
        // Asked for at once: growing by doubling, it would end up with twice what a chunk takes.
        spare.reserve_exact(SEALED_BYTES);
        Self(spare)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.0.clear();
        SPARE.set(std::mem::take(&mut self.0));
    }
}

/// An instance whose bytes are all written and not yet known to be on disk.
pub struct Committing {
    road: Arc<Road>,
    ticket: Ticket,
    table: Box<RecordTable>,
}

/// An instance that is durable: its sender may be told.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its identifier here.
    pub record_id: RecordId,
    /// What it is filed under.
    pub identity: Identity,
    /// How to answer.
    pub verdict: Verdict,
    /// Size of the dataset in bytes.
    pub dataset_bytes: u64,
}

impl Road {
    /// Why nothing more is taken in for the moment; `None` when it is: the keys are open, and there is room.
    ///
    /// # Errors
    /// When the disk cannot be asked.
    pub fn refusal(&self) -> Result<Option<Refusal>, Error> {
        if !self.keys.is_open() {
            return Ok(Some(Refusal::KeysLocked));
        }
        Ok((!self.has_room()?).then_some(Refusal::NoRoom))
    }

    /// True when there is room for another association (with hysteresis): free space covers the unpacked journal,
    /// the largest pack and the catalog's reserve.
    fn has_room(&self) -> Result<bool, Error> {
        if !self.settings.roles.has(Role::Receive) {
            return Ok(false);
        }
        let room = self.journal.room();
        let situation = Situation {
            disk_free_bytes: self.disk_free_bytes()?,
            unpacked_bytes: room.unpacked_bytes,
            journal_free_bytes: room.free_bytes,
            journal_closed: room.closed,
        };
        Ok(self.admission.lock().refusal(&situation).is_none())
    }

    /// Free bytes of the data directory's file system.
    pub(crate) fn disk_free_bytes(&self) -> Result<u64, Error> {
        Ok(self.disk.free_bytes(&self.data_dir)?)
    }

    /// Begins to receive one instance.
    ///
    /// # Errors
    /// [`Error::is_no_room`] when the journal is full or closed.
    pub fn receive(self: &Arc<Self>, provenance: Provenance) -> Result<Receiving, Error> {
        if !self.settings.roles.has(Role::Receive) {
            return Err(Error::NoReceiver);
        }
        let record_id = RecordId::random(&self.random);
        let key = RecordKey::random(&self.random);
        let writer = self.journal.begin(record_id)?;
        let mut sealer = RecordSealer::new(record_id, key.clone(), provenance, &self.seal);
        if let Some(idle_cores) = &self.idle_cores {
            sealer = sealer.helped_by(Arc::clone(idle_cores) as _);
        }
        Ok(Receiving {
            road: Arc::clone(self),
            record_id,
            writer,
            sealer,
            _arriving: self.idle_cores.as_ref().map(IdleCores::arriving),
            key,
            sealed: Sealed::new(),
        })
    }
}

impl Receiving {
    /// Room for the next bytes of the dataset, one at least; [`Receiving::arrived`] says how many were put there.
    /// Reading into it spares the copy that [`Receiving::push`] makes.
    pub fn space(&mut self) -> &mut [u8] {
        self.sealer.space()
    }

    /// The first `bytes` of the last [`Receiving::space`] hold the next bytes of the dataset.
    ///
    /// # Errors
    /// As [`Receiving::push`].
    pub fn arrived(&mut self, bytes: usize) -> Result<(), Error> {
        self.sealer.arrived(bytes, &mut self.sealed.0);
        self.write_sealed()
    }

    /// Takes the next bytes of the dataset, split anywhere.
    ///
    /// # Errors
    /// When the journal cannot take them; the instance is given up then and its space returned.
    pub fn push(&mut self, dataset: &[u8]) -> Result<(), Error> {
        self.sealer.push(dataset, &mut self.sealed.0);
        self.write_sealed()
    }

    /// The dataset is complete: writes the last bytes and the commit frame.
    ///
    /// # Errors
    /// When the journal or the landing key cannot be written, or when the instance cannot be understood and the
    /// quarantine has no room left.
    pub fn finish(self) -> Result<Committing, Error> {
        self.finish_in(None)
    }

    /// The same for a sender who says which study the instance is of.
    ///
    /// # Errors
    /// [`Error::OtherStudy`] when it is of another one: nothing of it is kept then; else as [`Receiving::finish`].
    pub fn finish_in(mut self, study_instance_uid: Option<&str>) -> Result<Committing, Error> {
        let table = self.sealer.finish(&mut self.sealed.0);
        let identity = Identity::of(table.record_id, &table.facts, &table.provenance);
        if study_instance_uid.is_some_and(|study| study != identity.study_instance_uid) {
            return Err(Error::OtherStudy);
        }
        if Verdict::of(&table) != Verdict::Accepted && self.road.quarantine_full.load(Ordering::SeqCst) {
            return Err(Error::QuarantineFull);
        }
        self.writer.write(&self.sealed.0)?;
        let wrapped_key = self.road.keys.wrap_landing(self.record_id, &self.key)?;
        let ticket = self.writer.commit(&wrapped_key)?;
        Ok(Committing { road: self.road, ticket, table: Box::new(table) })
    }

    fn write_sealed(&mut self) -> Result<(), Error> {
        self.road.pace.received();
        if !self.sealed.0.is_empty() {
            self.writer.write(&self.sealed.0)?;
            self.sealed.0.clear();
        }
        Ok(())
    }
}

impl Committing {
    /// Blocks until a sync that began after the last write has ended.
    ///
    /// # Errors
    /// When that sync failed: the sender must not hear a success.
    pub fn wait(self) -> Result<Received, Error> {
        self.road.journal.wait(&self.ticket)?;
        Ok(self.committed())
    }

    /// The same without blocking, for a simulation that syncs by hand: `Err` gives the waiter back.
    ///
    /// # Errors
    /// The waiter itself, when no sync has ended yet.
    pub fn poll(self) -> Result<Result<Received, Error>, Self> {
        match self.road.journal.poll(&self.ticket) {
            None => Err(self),
            Some(Ok(())) => Ok(Ok(self.committed())),
            Some(Err(error)) => Ok(Err(error.into())),
        }
    }

    fn committed(self) -> Received {
        let row = index::received_instance(&self.table, &self.road.settings.texts);
        let text = row.facts.charset().how();
        if text != How::Stated {
            metrics::counter!("filmgate_received_mislabelled_instances_total", "by" => text.as_str())
                .increment(1);
        }
        let received = Received {
            record_id: self.table.record_id,
            identity: row.identity.clone(),
            verdict: Verdict::of(&self.table),
            dataset_bytes: self.table.dataset_bytes,
        };
        self.road.announced.announce(row);
        received
    }
}
