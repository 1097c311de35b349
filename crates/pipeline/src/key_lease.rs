//! The keys' keeper is asked again in good time. While it is away, receiving goes on until the lease ends; past it nothing
//! is received or given back, and when it answers all goes on without a hand.

use std::{sync::Arc, time::Duration};

use filmgate_keys::{Kek, SiteObject};
use filmgate_model::{Timestamp, compute};
use serde::Serialize;

use crate::{Error, Road, RotationStatus, error::chain, status::Alarm};

/// How often the buckets are looked at when the keeper cannot be away.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// When the keeper of the key of keys is asked.
#[derive(Debug, Clone, Copy)]
pub struct KeyLease {
    /// How long what it opened is held after it was heard last.
    pub lease: Duration,
    /// The first retry comes after about this long, each further one after twice as long.
    pub retry_delay_min: Duration,
    /// No retry waits longer.
    pub retry_delay_max: Duration,
}

/// How it stands with the keeper.
#[derive(Default)]
pub(crate) struct Keeper {
    away: Option<Away>,
    changed: Option<Changed>,
}

/// The site's keys stand in a bucket in a later generation than here.
struct Changed {
    since: Timestamp,
    generation: u32,
    kek: String,
}

struct Away {
    since: Timestamp,
    reason: String,
    attempts: u32,
}

/// The keys, as the status shows them.
#[derive(Debug, Clone, Serialize)]
pub struct KeysStatus {
    /// Who keeps the key of keys, and which it is.
    pub keeper: String,
    /// Which object of the site's keys is in use.
    pub generation: u32,
    /// False when the lease has ended: nothing is received then.
    pub open: bool,
    /// When the keeper was last heard.
    pub heard_at: Timestamp,
    /// Since when it does not answer, and why.
    pub away_since: Option<Timestamp>,
    /// Why.
    pub away_reason: Option<String>,
    /// When receiving stops if it stays so; nothing when it cannot be away.
    pub ends_at: Option<Timestamp>,
    /// When the recovery sheet was typed back; nothing as long as it was not, or since a key on it changed.
    pub sheet_confirmed_at: Option<Timestamp>,
    /// The change of the site key that this process was last asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
}

impl Road {
    /// Asks the keeper and looks after the site's keys in the buckets; after how long to do so again. `kek` blocks.
    pub async fn tend_keys(self: &Arc<Self>, kek: &Arc<Kek>, times: &KeyLease) -> Duration {
        match self.take_newest_site_keys(kek).await {
            Err(Error::SiteKeysChanged { generation, kek }) => self.keys_wait(generation, kek),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the site's keys in the buckets were not looked at"
            ),
            Ok(()) => self.keys_are_the_newest(),
        }
        if !kek.is_elsewhere() {
            return LOOK_EVERY.min(times.lease / 8 * 3);
        }
        let (road, asked) = (Arc::clone(self), Arc::clone(kek));
        let renewed = compute(move || road.keys.renew(&asked)).await.map_err(Error::from);
        match renewed.and_then(|renewed| renewed.map_err(Error::from)) {
            Ok(()) => self.keeper_answers(times),
            Err(error) => self.keeper_is_away(&error, times),
        }
    }

    /// True when another node changed the keys of the site and this one's key of keys does not open them.
    #[must_use]
    pub fn kek_wanted(&self) -> bool {
        self.keeper.lock().changed.is_some()
    }

    /// Another node's keys of the site were met, and it is time for [`Road::tend_keys`].
    pub(crate) fn met_newer(&self, newer: &SiteObject) -> Error {
        self.site_keys_wanted.notify_one();
        Error::SiteKeysChanged { generation: newer.generation(), kek: newer.kek().to_string() }
    }

    /// They do not open with what is here: told once.
    fn keys_wait(&self, generation: u32, kek: String) {
        let mut keeper = self.keeper.lock();
        if keeper.changed.as_ref().is_some_and(|known| known.generation == generation) {
            return;
        }
        tracing::error!(
            generation,
            kek,
            "another node changed the keys of the site, and this one's key of keys does not open them"
        );
        keeper.changed = Some(Changed { since: self.clock.now(), generation, kek });
    }

    fn keys_are_the_newest(&self) {
        if let Some(changed) = self.keeper.lock().changed.take() {
            tracing::info!(
                generation = changed.generation,
                "the keys of the site are those of the buckets again"
            );
        }
    }

    /// Returns when a key was met that a site key opens which is not here: time for [`Road::tend_keys`].
    pub async fn site_keys_wanted(&self) {
        self.site_keys_wanted.notified().await;
    }

    /// The same error, after the site's keys were asked for if that may help.
    pub(crate) fn noticed(&self, error: Error) -> Error {
        if matches!(error, Error::Keys(filmgate_keys::Error::Wrong { .. })) {
            self.site_keys_wanted.notify_one();
        }
        error
    }

    /// Between three and four eighths of the lease from now: there is time for retries, and nodes do not ask together.
    fn keeper_answers(&self, times: &KeyLease) -> Duration {
        if let Some(away) = self.keeper.lock().away.take() {
            tracing::info!(since = %away.since, "the keeper of the key of keys answers again");
        }
        let eighth = times.lease / 8;
        eighth * 3 + Duration::from_millis(self.random.below(eighth.as_millis() as u64 + 1))
    }

    fn keeper_is_away(&self, error: &Error, times: &KeyLease) -> Duration {
        let now = self.clock.now();
        let lease = self.keys.lease();
        let mut keeper = self.keeper.lock();
        let first = keeper.away.is_none();
        let away = keeper.away.get_or_insert(Away { since: now, reason: String::new(), attempts: 0 });
        away.reason = chain(error);
        let stops_at = lease.ends_at.map(|at| at.to_string()).unwrap_or_default();
        if self.keys.wipe_if_over() {
            tracing::error!(since = %away.since, reason = away.reason, "the key provider stays away: the keys are wiped, nothing is received");
        } else if first {
            tracing::error!(
                reason = away.reason,
                stops_at,
                "the key provider is away; receiving goes on until its lease ends"
            );
        }
        let whole =
            times.retry_delay_min.saturating_mul(1 << away.attempts.min(16)).min(times.retry_delay_max);
        away.attempts += 1;
        let jittered = whole / 2 + Duration::from_millis(self.random.below(whole.as_millis() as u64 / 2 + 1));
        // The end of the lease is not slept through.
        let until_end = lease.ends_at.filter(|_| lease.open).map_or(jittered, |at| at.since(now));
        jittered.min(until_end).max(Duration::from_millis(10))
    }

    pub(crate) fn keys_status(&self) -> KeysStatus {
        let (lease, object, keeper) = (self.keys.lease(), self.keys.site_object(), self.keeper.lock());
        KeysStatus {
            keeper: object.kek().to_string(),
            generation: object.generation(),
            open: self.keys.is_open(),
            heard_at: lease.heard_at,
            away_since: keeper.away.as_ref().map(|away| away.since),
            away_reason: keeper.away.as_ref().map(|away| away.reason.clone()),
            ends_at: lease.ends_at,
            sheet_confirmed_at: self.keys.sheet_confirmed_at(),
            rotation: self.rotation_status(),
        }
    }

    /// An alarm for as long as another node's keys of the site cannot be taken over.
    pub(crate) fn changed_alarm(&self) -> Option<Alarm> {
        let keeper = self.keeper.lock();
        let changed = keeper.changed.as_ref()?;
        let (generation, kek) = (changed.generation, changed.kek.clone());
        let told = Error::SiteKeysChanged { generation, kek: kek.clone() };
        let detail = format!("{told}; receiving goes on meanwhile");
        Some(Alarm { kind: "site-keys-changed", subject: kek, detail, raised_at: changed.since })
    }

    /// An alarm for as long as the keeper is away.
    pub(crate) fn keeper_alarm(&self) -> Option<Alarm> {
        let status = self.keys_status();
        let (since, reason) = (status.away_since?, status.away_reason?);
        let then = match (status.open, status.ends_at) {
            (true, Some(at)) => format!("receiving stops at {at}"),
            _ => "nothing is received until it answers".to_owned(),
        };
        let detail = format!("key provider away since {since}, {then}: {reason}");
        Some(Alarm { kind: "key-provider-away", subject: status.keeper, detail, raised_at: since })
    }
}
