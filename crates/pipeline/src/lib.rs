//! The road of an instance, one file a step.
//!
//! | step | file | what |
//! | --- | --- | --- |
//! | 1 | `receive` | bytes from a door are sealed, journaled, synced; only then a success |
//! | 2 | `index` | what was received becomes rows of the catalog |
//! | 3 | `pack` | records of a study leave the journal for a pack |
//! | 4 | `upload`, `parts` | the pack's key and the pack go to every placement, the pack in parts when it is large |
//! | – | `site_key` | the site's keys are in every placement before anything there is verified |
//! | 5 | `verify` | both are read back equal |
//! | 6 | `log` | what is proven equal is named in the bucket's log; only then is it verified |
//! | 7 | `evict` | verified packs leave the local disk when room is needed |
//! | – | `key_lease` | the keeper of the key of keys is asked again; without it receiving stops in the end |
//! | – | `rotate`, `rotation` | another key of keys, another site key |
//! | – | `repack` | records of some packs go into a new one: merged, left out, made whole |
//! | – | `custody`, `delete` | what people hold, keep and delete; what was deleted goes |
//! | – | `shred` | the keys of what was deleted are destroyed, place by place |
//! | – | `decoding` | pixels decoded and encoded, off the async threads and where a crash costs nothing |
//! | – | `texts` | how text is read that is not in the set its dataset states |
//! | – | `retrieve/`, `export` | the way back, from wherever the record is: frames, pictures, other transfer syntaxes |
//! | – | `decoding` | pixels are decoded and encoded elsewhere: what may crash, in a process of its own |
//! | – | `footers`, `ranges` | what is read of packs that are only in a bucket, and kept while there is room |
//! | – | `peer` | what only another node of the site holds |
//! | – | `fitness` | what a placement does is found out before the first object is put there |
//! | – | `pace` | how the steps behind the journal yield to receipt |
//! | – | `callers` | who may associate; judged without asking the catalog |
//! | – | `telling` | what happens in the catalog, in the words of the log |
//! | – | `said` | what the logs say of custody and of packs that go, entered where it is not known |
//! | – | `follow` | a second directory, filled by what the logs say and serving from the bucket |
//! | – | `adopt` | what a dead node had, and was to do, becomes this node's |
//! | – | `book` | what only the catalog holds, exported into every bucket |
//! | – | `rebuild` | the catalog made again from bucket and keys |
//! | – | `recover` | what a crash left is put in order at the next start |
//!
//! Invariants: a success is never followed by loss; every step may run twice; the order is always pack file synced →
//! folder synced → pack known → journal freed, and key verified → pack verified → batch
//! of the log synced here → accepted in every bucket → catalog → local copy may go. A simulation
//! drives these same functions over a crashing disk.

mod adopt;
mod attributes;
mod book;
mod callers;
mod copies;
mod custody;
mod decoding;
mod delete;
mod error;
mod evict;
mod export;
mod fitness;
mod flight;
mod follow;
mod footers;
mod idle_cores;
mod index;
mod key_lease;
mod keys_in_use;
mod log;
mod metadata;
mod notice;
mod open_record;
mod opened_here;
mod pace;
mod pack;
mod pack_file;
mod pack_journaled;
mod parts;
mod peer;
mod ranges;
mod rebuild;
mod receive;
mod recover;
mod repack;
mod retrieve;
mod rotate;
mod rotation;
mod said;
mod shred;
mod site_key;
mod status;
mod telling;
mod texts;
mod upload;
mod verify;
mod verify_all;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use filmgate_bucket::Bucket;
use filmgate_catalog::Catalog;
use filmgate_keys::KeyRing;
use filmgate_model::{Clock, PackId, Random};
use filmgate_seal::SealOptions;
use filmgate_spool::{Admission, Disk, Journal, PackFolder};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{Notify, watch};

pub use adopt::{Adopted, DeadNode};
pub use book::BookStatus;
pub use callers::{
    Caller, CallerChange, CallerSettings, CallerShown, CallerVerdict, Callers, CallersShown, ChangeError,
    RuleShown,
};
pub use custody::{Changed, CustodyChange, CustodyShown, DeletionShown, HoldShown, Placed, RetentionShown};
pub use decoding::{Decoding, DecodingOptions, FrameBytes, WorkerOptions};
pub use delete::Deleted;
pub use error::Error;
pub use export::{Exported, FileNames};
pub use filmgate_log::{Role, Roles};
pub use filmgate_pixels::render::{Function, Region, Viewport, Window};
pub use fitness::Probed;
pub use follow::{FollowStatus, Following};
pub use idle_cores::IdleCores;
pub use key_lease::{KeyLease, KeysStatus};
pub use log::{LogStatus, Logged};
pub use metadata::METADATA_VERSION;
pub use notice::Notice;
pub use open_record::{BulkValue, OpenRecord};
pub use pace::Yielding;
pub use pack::Packed;
pub use peer::{HELD_RANGE_BYTES_MAX, NodeStatus, Peers, Reach};
pub use ranges::Cached;
pub use rebuild::{RebuildProgress, Rebuilt};
pub use receive::{Committing, Received, Receiving, Refusal, Verdict};
pub use recover::Recovered;
pub use repack::{Repack, Repacked};
pub use retrieve::{
    Annotation, Dataset, FrameSyntax, Frames, Imaged, KeptSettings, Picture, PictureFormat,
    PresentationState, Rendered, StoredFrame, Transcoded,
};
pub use rotate::Rotation;
pub use rotation::{RotationAsked, RotationStatus};
pub use shred::{KeyShown, PlaceShown, ShredShown};
pub use status::{
    Alarm, PlacementOfPack, PlacementStatus, Quarantined, RetryingPack, SpoolStatus, Status, Waiting,
};
pub use telling::tell;
pub use texts::Texts;
pub use verify_all::{Finding, VerifyReport};

/// One place that packs and their keys must reach.
///
/// Keys have a bucket of their own, so that what is deleted there is gone: packs may be versioned or locked against
/// deletion, keys must not be, or shredding a study would be a lie.
#[derive(Clone)]
pub struct Placement {
    /// Its name in the configuration and the catalog.
    pub name: String,
    /// The store of packs and of whatever else does not open anything.
    pub bucket: Arc<dyn Bucket>,
    /// The store of `v1/key/…` and of nothing else.
    pub keys: Arc<dyn Bucket>,
}

/// Limits and rules of the road; each is a setting of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A study is packed when nothing more came for it for so long.
    pub pack_quiet: Duration,
    /// … or when so many bytes of it wait.
    pub pack_size_bytes: u64,
    /// … or when its oldest record waits so long.
    pub pack_age: Duration,
    /// The first retry of a failed upload comes after about this long; each further one after twice as long.
    pub retry_delay_min: Duration,
    /// No retry waits longer.
    pub retry_delay_max: Duration,
    /// A pack longer than this is put in parts of this size, where the store takes parts.
    pub part_size_bytes: u64,
    /// Parts on their way at a time, over all packs and placements.
    pub parts_in_flight: usize,
    /// An upload in parts that nobody remembers is given up when it is so old.
    pub upload_abandoned_after: Duration,
    /// Local packs are given up, once verified, when less than this is free on their disk.
    pub cache_free_bytes_min: u64,
    /// … or when they take more than this.
    pub cache_bytes_max: u64,
    /// At most so much of a pack that is only in a bucket is fetched at a time; a reader may hold as much in memory.
    pub read_bytes_max: u64,
    /// So much is fetched at a time for somebody who goes through such a pack; 0 for no more than is wanted.
    pub read_ahead_bytes: u64,
    /// Bytes quarantined instances may take on the local disk; past it, what cannot be understood is refused.
    pub quarantine_bytes_max: u64,
    /// Packs shorter than this are merged with others of their study …
    pub small_pack_bytes: u64,
    /// … once nothing more came of it for so long.
    pub repack_after: Duration,
    /// How long a pack stays after its records stand in another one, for those who look them up before.
    pub repack_grace: Duration,
    /// Whoever asks for a deletion may not confirm it.
    pub deletion_two_people: bool,
    /// How long a confirmed deletion can be taken back; nothing goes before.
    pub deletion_grace: Duration,
    /// Years every study is kept, from its date or its receipt, whichever is later; 0 keeps nothing by rule.
    pub retention_years: u32,
    /// What only the catalog holds goes into every bucket about so long after it changed.
    pub book_export_after: Duration,
    /// How the steps behind the journal yield to receipt.
    pub yielding: Yielding,
    /// Nothing is verified before the recovery sheet was typed back.
    pub require_backup: bool,
    /// What is kept in memory of what was opened.
    pub kept: KeptSettings,
    /// What this node does; its log says so.
    pub roles: Roles,
    /// Packs proven within so long go into the log together.
    pub log_gather: Duration,
    /// A node that has nothing to state says that it lives after so long.
    pub log_heartbeat: Duration,
    /// A follower asks for the next batch of each history so often.
    pub follow_poll: Duration,
    /// … and for new histories so often.
    pub follow_list: Duration,
    /// How text is read that is not in the set its dataset states.
    pub texts: Texts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pack_quiet: Duration::from_secs(10),
            pack_size_bytes: 64 * 1024 * 1024,
            pack_age: Duration::from_secs(60),
            retry_delay_min: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(300),
            part_size_bytes: 8 * 1024 * 1024,
            parts_in_flight: 4,
            upload_abandoned_after: Duration::from_secs(3 * 24 * 60 * 60),
            cache_free_bytes_min: 4 * 1024 * 1024 * 1024,
            cache_bytes_max: u64::MAX,
            read_bytes_max: 8 * 1024 * 1024,
            read_ahead_bytes: 4 * 1024 * 1024,
            quarantine_bytes_max: 4 * 1024 * 1024 * 1024,
            small_pack_bytes: 8 * 1024 * 1024,
            repack_after: Duration::from_secs(6 * 60 * 60),
            repack_grace: Duration::from_secs(10 * 60),
            deletion_two_people: false,
            deletion_grace: Duration::from_secs(7 * 24 * 60 * 60),
            retention_years: 30,
            book_export_after: Duration::from_secs(60),
            yielding: Yielding::default(),
            require_backup: false,
            kept: KeptSettings::default(),
            roles: Roles::GATEWAY,
            log_gather: Duration::from_millis(500),
            log_heartbeat: Duration::from_secs(60),
            follow_poll: Duration::from_secs(1),
            follow_list: Duration::from_secs(5),
            texts: Texts::default(),
        }
    }
}

/// What the road is built from.
pub struct Parts {
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Where instances land.
    pub journal: Arc<Journal>,
    /// The local disk.
    pub disk: Arc<dyn Disk>,
    /// Where on it the data directory is.
    pub data_dir: PathBuf,
    /// Where on it the node's part of the bucket's log is.
    pub log_dir: PathBuf,
    /// Packs on the local disk.
    pub packs: PackFolder,
    /// What is kept of packs that are elsewhere.
    pub cached: Cached,
    /// The keys of this node.
    pub keys: Arc<KeyRing>,
    /// What is known.
    pub catalog: Arc<Catalog>,
    /// Every bucket a pack must reach, at least one.
    pub placements: Vec<Placement>,
    /// The other nodes of the site.
    pub peers: Peers,
    /// Decides whether there is room for another association.
    pub admission: Admission,
    /// How instances are sealed.
    pub seal: SealOptions,
    /// Who helps with long chunks; `None` leaves all to the thread an instance arrives on.
    pub idle_cores: Option<Arc<IdleCores>>,
    /// Decodes and encodes pixels.
    pub decoding: Decoding,
    /// Limits and rules.
    pub settings: Settings,
}

/// The road: every step is a method, in the file that bears its name.
pub struct Road {
    clock: Clock,
    random: Random,
    journal: Arc<Journal>,
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    packs: PackFolder,
    cached: Cached,
    fetching: ranges::Fetching,
    keys: Arc<KeyRing>,
    catalog: Arc<Catalog>,
    placements: Vec<Placement>,
    peers: peer::KnownPeers,
    admission: Mutex<Admission>,
    seal: SealOptions,
    idle_cores: Option<Arc<IdleCores>>,
    decoding: Decoding,
    settings: Settings,
    log: log::Log,
    key_gates: [tokio::sync::Mutex<()>; retrieve::KEY_GATES],
    followed: follow::Told,
    announced: index::Announced,
    pace: pace::Pace,
    flight: flight::Flight,
    open_before: parts::OpenBefore,
    /// What was found out of each placement.
    probed: Mutex<BTreeMap<String, Probed>>,
    /// A pack was made, or put in a bucket: the next step has something to do.
    packed: Notify,
    uploaded: Notify,
    /// What the last run left is in order: the steps behind receipt may begin.
    settled: watch::Sender<bool>,
    /// Packs nobody can say of whether the catalog knows them.
    unclear: Mutex<Vec<pack::Entry>>,
    /// What cannot be understood takes all it may: such instances are refused until there is room.
    quarantine_full: AtomicBool,
    /// Local packs that were read since it was last written down.
    read: Mutex<BTreeSet<PackId>>,
    deleting: delete::Deleting,
    contents: Cache<PackId, Arc<retrieve::PackContents>, retrieve::Weigh>,
    kept: retrieve::Kept,
    opening: opened_here::Opening,
    site_key_placed: site_key::Placed,
    /// A key is wrapped under a site key that is not here: another node may have changed them.
    site_keys_wanted: Notify,
    keeper: Mutex<key_lease::Keeper>,
    rotating: rotation::Rotating,
    exporting: book::Exporting,
    /// What the doors have to say.
    notices: Mutex<Vec<Notice>>,
}

/// Records and chunks whose places are kept in memory, over all packs: about 64 bytes each.
const CONTENTS_CACHED_MAX: u64 = 1024 * 1024;
/// Packs that is for, about.
const PACKS_CACHED: usize = 128;

impl Road {
    /// Puts the parts together. Call [`Road::settle`] before the doors open.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            key_gates: Default::default(),
            open_before: Default::default(),
            followed: follow::Told::default(),
            log: log::Log::new(log::LogFolder::new(Arc::clone(&parts.disk), parts.log_dir)),
            pace: pace::Pace::new(parts.clock.clone(), parts.settings.yielding),
            kept: retrieve::Kept::new(parts.settings.kept),
            opening: opened_here::Opening::default(),
            peers: peer::KnownPeers::new(parts.peers, parts.clock.now()),
            flight: flight::Flight::new(
                parts.settings.part_size_bytes.saturating_mul(parts.settings.parts_in_flight as u64),
            ),
            probed: Mutex::default(),
            packed: Notify::new(),
            uploaded: Notify::new(),
            site_keys_wanted: Notify::new(),
            clock: parts.clock,
            random: parts.random,
            journal: parts.journal,
            disk: parts.disk,
            data_dir: parts.data_dir,
            packs: parts.packs,
            cached: parts.cached,
            fetching: ranges::Fetching::new(),
            keys: parts.keys,
            catalog: parts.catalog,
            placements: parts.placements,
            admission: Mutex::new(parts.admission),
            seal: parts.seal,
            idle_cores: parts.idle_cores,
            decoding: parts.decoding,
            settings: parts.settings,
            announced: index::Announced::default(),
            settled: watch::Sender::new(false),
            unclear: Mutex::new(Vec::new()),
            quarantine_full: AtomicBool::new(false),
            read: Mutex::default(),
            deleting: delete::Deleting::default(),
            site_key_placed: site_key::Placed::default(),
            keeper: Mutex::default(),
            notices: Mutex::default(),
            rotating: rotation::Rotating::default(),
            exporting: book::Exporting::default(),
            contents: Cache::with_weighter(PACKS_CACHED, CONTENTS_CACHED_MAX, retrieve::Weigh),
        })
    }

    /// What is known; for questions, not for steps.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The journal, for its room and the thread that prepares its segments.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The clock everything here goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The keys of this node.
    #[must_use]
    pub fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// This node, as it signs what it received.
    #[must_use]
    pub fn node_id(&self) -> filmgate_model::NodeId {
        self.keys.node_id()
    }

    /// The placements every pack must reach.
    #[must_use]
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// What decodes and encodes pixels.
    #[must_use]
    pub fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    /// Names of the placements every pack must reach.
    fn placement_names(&self) -> Vec<&str> {
        self.placements.iter().map(|placement| placement.name.as_str()).collect()
    }
}
