//! Keys of studies that are destroyed, and how far that is in each place that had them.
//!
//! A key is given up in the transaction that finds no living pack sealed under it; from then on none is entered that
//! is. Only after that commit is a place touched, and each notes for itself when it was done.

use std::{fmt, str::FromStr};

use filmgate_model::{FactId, NodeId, StudyKeyId, Timestamp};

use super::{custody::Because, deletions::Deletion, outbox::Outgoing};
use crate::{
    Catalog, Error,
    book::deletions::DeletionStep,
    engine::{
        Connection, Row, query,
        row::{get, id, optional_time, time, unsigned, word},
    },
};

/// A place that may hold a study's key, or what opens records of the study.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShredPlace {
    /// The bucket of keys of a placement.
    Bucket(String),
    /// The local key cache of a node.
    Node(NodeId),
    /// The journal of a node: what it has overwritten or not is wrapped under keys of its own.
    Journal(NodeId),
}

impl fmt::Display for ShredPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(name) => write!(f, "bucket:{name}"),
            Self::Node(node) => write!(f, "node:{node}"),
            Self::Journal(node) => write!(f, "journal:{node}"),
        }
    }
}

impl FromStr for ShredPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            Some(("bucket", name)) => Ok(Self::Bucket(name.to_owned())),
            Some(("node", node)) => node.parse().map(Self::Node).map_err(drop),
            Some(("journal", node)) => node.parse().map(Self::Journal).map_err(drop),
            _ => Err(()),
        }
    }
}

/// A key that is destroyed, place by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShreddedKey {
    /// The key.
    pub study_key_id: StudyKeyId,
    /// Its study; empty when another node's log named the key and this catalog never knew it.
    pub study_instance_uid: String,
    /// Who asked for it, and why.
    pub because: Because,
    /// Since when nothing may be sealed under it.
    pub shredded_at: Timestamp,
    /// Its places.
    pub places: Vec<PlaceOfKey>,
}

/// How far a key's destruction is in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOfKey {
    /// The place.
    pub place: ShredPlace,
    /// When nothing of the key was left there.
    pub done_at: Option<Timestamp>,
    /// Why it is not done yet; `None` when nobody has tried.
    pub reason: Option<String>,
}

/// A place where a key is to be destroyed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceToEmpty {
    /// The key.
    pub study_key_id: StudyKeyId,
    /// The place.
    pub place: ShredPlace,
    /// Since when nothing may be sealed under the key.
    pub shredded_at: Timestamp,
    /// Who asked for it, and why.
    pub because: Because,
    /// A node whose cache holds it still, and which may put it back.
    pub node_before: Option<ShredPlace>,
}

/// What became of the keys of a study that was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeysGivenUp {
    /// Keys that are destroyed from now on.
    pub keys: Vec<StudyKeyId>,
    /// What keeps others.
    pub waits_for: Option<String>,
}

impl Catalog {
    /// Deletions of whole studies that are carried out and whose keys still stand, those tried longest ago first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn deletions_with_keys(&self, limit: u32) -> Result<Vec<FactId>, Error> {
        self.engine
            .run("list deleted studies with keys", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT deletion_id FROM book_deletions
                     WHERE site_id = $1 AND done_at IS NOT NULL AND sop_instance_uid IS NULL AND keys_gone_at IS NULL
                        AND cancelled_at IS NULL
                     ORDER BY COALESCE(keys_tried_at, 0), deletion_id LIMIT $2",
                )
                .bind(self.site())
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(|row| Ok(FactId(id(row, "deletion_id")?))).collect()
            })
            .await
    }

    /// Gives up the keys of a study whose deletion is carried out: each that no living pack is sealed under. What is
    /// sealed under others came later; they are looked at again. Holds and retention keep all.
    ///
    /// # Errors
    /// [`Error::NoSuchDeletion`]; or when a statement fails: then nothing was given up.
    pub async fn give_up_keys(
        &self,
        deletion_id: FactId,
        placements: &[&str],
        retention_years: u32,
        at: Timestamp,
    ) -> Result<KeysGivenUp, Error> {
        self.engine
            .run("give up the keys of a study", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let deletion = self.deletion_in_custody(&mut transaction, deletion_id).await?;
                let mut given_up = KeysGivenUp::default();
                if deletion.step() != DeletionStep::Done {
                    return Ok(given_up);
                }
                let study = &deletion.study_instance_uid;
                match self.refuse_if_bound(&mut transaction, study, deletion_id, retention_years, at).await {
                    Err(error) if error.is_refusal() => given_up.waits_for = Some(error.to_string()),
                    bound => {
                        bound?;
                        self.give_up_idle(&mut transaction, &deletion, placements, at, &mut given_up).await?;
                    }
                }
                note_keys(&mut transaction, deletion_id, given_up.waits_for.as_deref(), at).await?;
                transaction.commit().await?;
                Ok(given_up)
            })
            .await
    }

    /// Writes down what keeps the keys of a deleted study for now; they are looked at again.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn keys_wait(&self, deletion_id: FactId, why: &str, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("write down what keeps the keys of a study", async {
                let mut writer = self.engine.writer().await?;
                note_keys(&mut writer, deletion_id, Some(why), at).await
            })
            .await
    }

    async fn give_up_idle(
        &self,
        writer: &mut Connection,
        deletion: &Deletion,
        placements: &[&str],
        at: Timestamp,
        given_up: &mut KeysGivenUp,
    ) -> Result<(), Error> {
        let study = deletion.study_instance_uid.as_str();
        let rows = query(KEYS_OF_STUDY)
            .bind(self.site())
            .bind(study)
            .bind(deletion.done_at.unwrap_or_default().0)
            .fetch_all(&mut *writer)
            .await?;
        let (mut packs, mut nodes) = (0, None);
        for row in &rows {
            if get::<bool>(row, "later")? {
                continue;
            }
            match unsigned(row, "living")? {
                0 => given_up.keys.push(StudyKeyId(id(row, "study_key_id")?)),
                living => packs += living,
            }
        }
        for study_key_id in &given_up.keys {
            let nodes = match &mut nodes {
                Some(nodes) => nodes,
                none => none.insert(self.nodes_with_keys(&mut *writer, study).await?),
            };
            self.insert_shredded(&mut *writer, *study_key_id, study, &deletion.because, at).await?;
            let buckets = placements.iter().map(|name| ShredPlace::Bucket((*name).to_owned()));
            let nodes = nodes.iter().flat_map(|node| [ShredPlace::Node(*node), ShredPlace::Journal(*node)]);
            for place in buckets.chain(nodes) {
                self.insert_place(&mut *writer, *study_key_id, &place).await?;
            }
        }
        if packs > 0 {
            given_up.waits_for = Some(format!(
                "{packs} packs of instances that came later are sealed under a key of the study; `filmgate repack --study \
                 {study} --new-key` moves them"
            ));
        }
        Ok(())
    }

    /// Every node that may have a key of the study in its cache.
    async fn nodes_with_keys(&self, writer: &mut Connection, study: &str) -> Result<Vec<NodeId>, Error> {
        let rows = query(
            "SELECT node_id FROM book_nodes WHERE site_id = $1
             UNION SELECT node_id FROM index_packs WHERE site_id = $1 AND study_instance_uid = $2
             UNION SELECT node_id FROM index_study_keys WHERE site_id = $1 AND study_instance_uid = $2
             ORDER BY node_id",
        )
        .bind(self.site())
        .bind(study)
        .fetch_all(writer)
        .await?;
        let mut nodes =
            rows.iter().map(|row| Ok(NodeId(id(row, "node_id")?))).collect::<Result<Vec<_>, Error>>()?;
        if !nodes.contains(&self.node_id) {
            nodes.push(self.node_id);
        }
        Ok(nodes)
    }

    async fn insert_shredded(
        &self,
        writer: &mut Connection,
        study_key_id: StudyKeyId,
        study: &str,
        because: &Because,
        at: Timestamp,
    ) -> Result<u64, Error> {
        let inserted = query(
            "INSERT INTO book_shredded_keys (study_key_id, site_id, study_instance_uid, who, why, shredded_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (study_key_id) DO NOTHING",
        )
        .bind(study_key_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(study)
        .bind(&because.who)
        .bind(&because.why)
        .bind(at.0)
        .execute(writer)
        .await?;
        Ok(inserted.rows_affected())
    }

    async fn insert_place(
        &self,
        writer: &mut Connection,
        study_key_id: StudyKeyId,
        place: &ShredPlace,
    ) -> Result<(), Error> {
        query(
            "INSERT INTO book_shred_places (study_key_id, site_id, place) VALUES ($1, $2, $3)
             ON CONFLICT (study_key_id, place) DO NOTHING",
        )
        .bind(study_key_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(place.to_string())
        .execute(writer)
        .await?;
        Ok(())
    }

    /// A log says that a key of `study` (empty when no log tells) is destroyed: so it is here, and in these placements. False
    /// when that was known.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn hear_shredded(
        &self,
        study_key_id: StudyKeyId,
        study: &str,
        because: &Because,
        placements: &[&str],
        at: Timestamp,
    ) -> Result<bool, Error> {
        self.engine
            .run("hear that a key is shredded", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let heard =
                    self.insert_shredded(&mut transaction, study_key_id, study, because, at).await? > 0;
                if heard {
                    let own = [ShredPlace::Node(self.node_id), ShredPlace::Journal(self.node_id)];
                    let buckets = placements.iter().map(|name| ShredPlace::Bucket((*name).to_owned()));
                    for place in own.into_iter().chain(buckets) {
                        self.insert_place(&mut transaction, study_key_id, &place).await?;
                    }
                }
                transaction.commit().await?;
                Ok(heard)
            })
            .await
    }

    /// A node that this catalog did not know of may have the key too: it is waited for.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn wait_for_node(&self, study_key_id: StudyKeyId, node: NodeId) -> Result<(), Error> {
        self.engine
            .run("wait for another node's copy of a key", async {
                let mut writer = self.engine.writer().await?;
                self.insert_place(&mut writer, study_key_id, &ShredPlace::Node(node)).await
            })
            .await
    }

    /// Identifiers of destroyed keys, after the one given, by their bytes.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn shredded_key_ids(
        &self,
        after: Option<StudyKeyId>,
        limit: u32,
    ) -> Result<Vec<StudyKeyId>, Error> {
        self.engine
            .run("list keys that are shredded", async {
                let mut reader = self.engine.reader().await?;
                let after = after.unwrap_or(StudyKeyId([0; 16]));
                let rows = query(
                    "SELECT study_key_id FROM book_shredded_keys WHERE site_id = $1 AND study_key_id > $2
                     ORDER BY study_key_id LIMIT $3",
                )
                .bind(self.site())
                .bind(after.as_bytes().as_slice())
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(|row| Ok(StudyKeyId(id(row, "study_key_id")?))).collect()
            })
            .await
    }

    /// Places that this node can see to and that are due, this node's own first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn places_to_empty(&self, now: Timestamp, limit: u32) -> Result<Vec<PlaceToEmpty>, Error> {
        self.engine
            .run("list places to empty of keys", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(PLACES_TO_EMPTY)
                    .bind(self.site())
                    .bind(ShredPlace::Node(self.node_id).to_string())
                    .bind(ShredPlace::Journal(self.node_id).to_string())
                    .bind(now.0)
                    .bind(i64::from(limit))
                    .fetch_all(&mut reader)
                    .await?;
                rows.iter().map(place_to_empty).collect()
            })
            .await
    }

    /// Nothing of a key is left in a place; what this node tells the others of it goes into the outbox with that.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn place_emptied(
        &self,
        study_key_id: StudyKeyId,
        place: &ShredPlace,
        fact: Option<&Outgoing>,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record that a key is gone from a place", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let done = query(
                    "UPDATE book_shred_places SET done_at = $3, reason = NULL, next_try_at = NULL
                     WHERE study_key_id = $1 AND place = $2 AND done_at IS NULL",
                )
                .bind(study_key_id.as_bytes().as_slice())
                .bind(place.to_string())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                if let Some(fact) = fact.filter(|_| done.rows_affected() > 0) {
                    self.put_out(&mut transaction, fact, at).await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// Something of a key is left in a place, or may be.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn place_waits(
        &self,
        study_key_id: StudyKeyId,
        place: &ShredPlace,
        reason: &str,
        next_try_at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record that a key is not gone from a place", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "UPDATE book_shred_places SET reason = $3, next_try_at = $4
                     WHERE study_key_id = $1 AND place = $2 AND done_at IS NULL",
                )
                .bind(study_key_id.as_bytes().as_slice())
                .bind(place.to_string())
                .bind(reason)
                .bind(next_try_at.0)
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }

    /// Destroyed keys and their places, the latest first; of one study when asked so.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn shredded_keys(&self, study: Option<&str>, limit: u32) -> Result<Vec<ShreddedKey>, Error> {
        self.engine
            .run("list keys that are shredded", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT study_key_id, study_instance_uid, who, why, shredded_at FROM book_shredded_keys
                     WHERE site_id = $1 AND ($2 IS NULL OR study_instance_uid = $2)
                     ORDER BY shredded_at DESC, study_key_id LIMIT $3",
                )
                .bind(self.site())
                .bind(study)
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                let mut keys = Vec::with_capacity(rows.len());
                for row in &rows {
                    let mut key = shredded_key(row)?;
                    key.places = places_of(&mut reader, key.study_key_id).await?;
                    keys.push(key);
                }
                Ok(keys)
            })
            .await
    }

    /// Keys of a study that are not destroyed.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn count_keys_of(&self, study: &str) -> Result<u64, Error> {
        self.engine
            .run("count the keys of a study", async {
                let mut reader = self.engine.reader().await?;
                self.count_keys(&mut reader, study).await
            })
            .await
    }

    pub(crate) async fn count_keys(&self, reader: &mut Connection, study: &str) -> Result<u64, Error> {
        let row = query(COUNT_KEYS).bind(self.site()).bind(study).fetch_one(reader).await?;
        unsigned(&row, "keys")
    }

    /// Refuses to enter what is sealed under a key that is destroyed, in the transaction that would.
    pub(crate) async fn refuse_shredded(
        &self,
        writer: &mut Connection,
        study_key_id: StudyKeyId,
    ) -> Result<(), Error> {
        let gone = query("SELECT study_key_id FROM book_shredded_keys WHERE study_key_id = $1")
            .bind(study_key_id.as_bytes().as_slice())
            .fetch_optional(writer)
            .await?;
        if gone.is_some() { Err(Error::KeyShredded(study_key_id)) } else { Ok(()) }
    }
}

/// The keys of a study ($2) that are not given up: packs that live under each, and whether it was made after the
/// deletion was carried out ($3).
const KEYS_OF_STUDY: &str = "
SELECT s.study_key_id AS study_key_id,
    (SELECT COUNT(*) FROM index_packs p WHERE p.study_key_id = s.study_key_id AND p.state <> 'deleted') AS living,
    EXISTS (SELECT 1 FROM index_study_keys k WHERE k.study_key_id = s.study_key_id AND k.remembered_at > $3) AS later
FROM (SELECT study_key_id FROM index_study_keys WHERE site_id = $1 AND study_instance_uid = $2
    UNION SELECT study_key_id FROM index_packs WHERE site_id = $1 AND study_instance_uid = $2) AS s
WHERE NOT EXISTS (SELECT 1 FROM book_shredded_keys g WHERE g.study_key_id = s.study_key_id)
ORDER BY s.study_key_id";

const COUNT_KEYS: &str = "
SELECT COUNT(*) AS keys
FROM (SELECT study_key_id FROM index_study_keys WHERE site_id = $1 AND study_instance_uid = $2
    UNION SELECT study_key_id FROM index_packs WHERE site_id = $1 AND study_instance_uid = $2) AS s
WHERE NOT EXISTS (SELECT 1 FROM book_shredded_keys g WHERE g.study_key_id = s.study_key_id)";

/// No delay is as long as a day (86,400,000 ms): a time so far ahead was written before the clock was set back. `node:`
/// comes after `bucket:` and `journal:`, and is to come first.
const PLACES_TO_EMPTY: &str = "
SELECT p.study_key_id AS study_key_id, p.place AS place, k.who AS who, k.why AS why, k.shredded_at AS shredded_at,
    (SELECT MIN(n.place) FROM book_shred_places n
        WHERE n.study_key_id = p.study_key_id AND n.done_at IS NULL AND n.place LIKE 'node:%') AS node_before
FROM book_shred_places p JOIN book_shredded_keys k ON k.study_key_id = p.study_key_id
WHERE p.site_id = $1 AND p.done_at IS NULL AND (p.place IN ($2, $3) OR p.place LIKE 'bucket:%')
    AND (p.next_try_at IS NULL OR p.next_try_at <= $4 OR p.next_try_at > $4 + 86400000)
ORDER BY CASE WHEN p.place = $2 THEN 0 ELSE 1 END, COALESCE(p.next_try_at, 0), p.study_key_id, p.place LIMIT $5";

async fn note_keys(
    writer: &mut Connection,
    deletion_id: FactId,
    waits_for: Option<&str>,
    at: Timestamp,
) -> Result<(), Error> {
    query(
        "UPDATE book_deletions SET keys_tried_at = $2, keys_wait_for = $3,
            keys_gone_at = CASE WHEN $4 THEN NULL ELSE $2 END
         WHERE deletion_id = $1",
    )
    .bind(deletion_id.as_bytes().as_slice())
    .bind(at.0)
    .bind(waits_for)
    .bind(waits_for.is_some())
    .execute(writer)
    .await?;
    Ok(())
}

async fn places_of(reader: &mut Connection, study_key_id: StudyKeyId) -> Result<Vec<PlaceOfKey>, Error> {
    let rows =
        query("SELECT place, done_at, reason FROM book_shred_places WHERE study_key_id = $1 ORDER BY place")
            .bind(study_key_id.as_bytes().as_slice())
            .fetch_all(reader)
            .await?;
    let places = rows.iter().map(|row| {
        Ok(PlaceOfKey {
            place: word(row, "place")?,
            done_at: optional_time(row, "done_at")?,
            reason: get(row, "reason")?,
        })
    });
    places.collect()
}

fn shredded_key(row: &Row) -> Result<ShreddedKey, Error> {
    Ok(ShreddedKey {
        study_key_id: StudyKeyId(id(row, "study_key_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        because: Because { who: get(row, "who")?, why: get(row, "why")? },
        shredded_at: time(row, "shredded_at")?,
        places: Vec::new(),
    })
}

fn place_to_empty(row: &Row) -> Result<PlaceToEmpty, Error> {
    let node_before: Option<&str> = get(row, "node_before")?;
    let node_before = node_before.map(str::parse).transpose();
    Ok(PlaceToEmpty {
        study_key_id: StudyKeyId(id(row, "study_key_id")?),
        place: word(row, "place")?,
        shredded_at: time(row, "shredded_at")?,
        because: Because { who: get(row, "who")?, why: get(row, "why")? },
        node_before: node_before.map_err(|()| Error::Corrupt { column: "place" })?,
    })
}
