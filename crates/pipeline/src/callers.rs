//! Who may associate: rules by calling AE title, kept in memory; callers that no rule knows are remembered.
//!
//! An association is judged without asking the catalog: rules change seldom, and each change goes through here and holds
//! at once. Rules that another node of the site changed are read by [`Callers::refresh`]. What is seen of unknown callers
//! is gathered in memory, within bounds, and written down now and then.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use filmgate_catalog::{AeBook, AeCaller, AeRule, Catalog};
use filmgate_model::{AeTitle, Clock, Network, Timestamp};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What holds for callers that no rule knows.
#[derive(Debug, Clone, Default)]
pub struct CallerSettings {
    /// Titles that may call from anywhere unless a rule says otherwise.
    pub known: BTreeSet<AeTitle>,
    /// Let everybody in.
    pub accept_unknown: bool,
    /// Unknown callers remembered.
    pub remembered_max: u32,
}

/// Who asks for an association.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Its title.
    pub calling_ae: &'a AeTitle,
    /// Whom it calls.
    pub called_ae: &'a AeTitle,
    /// Where from.
    pub address: IpAddr,
    /// SHA-256 of the certificate it has shown.
    pub fingerprint: Option<[u8; 32]>,
    /// Common name of that certificate's subject; empty without one.
    pub common_name: &'a str,
}

/// Whether it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerVerdict {
    /// It may, with so many associations at a time; 0 is no limit of its own.
    Allowed {
        /// How many.
        associations_max: u32,
    },
    /// No rule knows it, and the door is learning.
    LetIn,
    /// No rule knows it.
    Unknown,
    /// Its rule says no.
    Denied,
    /// Its rule allows other addresses only.
    Address,
    /// Its rule asks for another certificate.
    Certificate,
    /// Its rule is for another called AE title.
    Called,
}

impl CallerVerdict {
    /// Why it is refused, in a few words; empty when it is not.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Allowed { .. } | Self::LetIn => "",
            Self::Unknown => "unknown calling AE title",
            Self::Denied => "denied by its rule",
            Self::Address => "its rule allows other addresses",
            Self::Certificate => "its rule asks for another certificate",
            Self::Called => "its rule is for another called AE title",
        }
    }
}

/// A change of the rules, as the command line and the API give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase", deny_unknown_fields)]
pub enum CallerChange {
    /// This title may call, under these conditions.
    Allow {
        /// The title.
        calling_ae: AeTitle,
        /// Networks; none is anywhere.
        #[serde(default)]
        addresses: Vec<String>,
        /// The called AE title it must use.
        #[serde(default)]
        called_ae: Option<AeTitle>,
        /// SHA-256 of its certificate, hexadecimal; colons between are fine.
        #[serde(default)]
        fingerprint: Option<String>,
        /// Common name of its certificate's subject.
        #[serde(default)]
        common_name: String,
        /// Associations at a time; 0 is no limit of its own.
        #[serde(default)]
        associations_max: u32,
    },
    /// Everyone that was let in while the door was learning may call, each from where it called.
    Learned,
    /// This title may not call.
    Deny {
        /// The title.
        calling_ae: AeTitle,
    },
    /// Its rule, and what is remembered of it, goes.
    Forget {
        /// The title.
        calling_ae: AeTitle,
    },
    /// Unknown callers are let in and remembered for so long; 0 ends it.
    Learn {
        /// How long, in milliseconds.
        for_ms: u64,
    },
}

/// A change that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// What it says cannot be.
    #[error("{0}")]
    Senseless(String),
    /// The catalog.
    #[error("write down who may call")]
    Catalog(#[from] filmgate_catalog::Error),
}

/// The longest the door learns at a time.
const LEARNING_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// All that is known of callers, for people.
#[derive(Debug, Serialize)]
pub struct CallersShown {
    /// Rules, by title.
    pub rules: Vec<RuleShown>,
    /// Titles that the settings let in where no rule says otherwise.
    pub known: Vec<AeTitle>,
    /// True when the settings let everybody in.
    pub accept_unknown: bool,
    /// Callers that wait for a decision, the last to come first.
    pub waiting: Vec<CallerShown>,
    /// Until when the door learns.
    pub learning_until: Option<String>,
}

/// A rule, for people.
#[derive(Debug, Serialize)]
pub struct RuleShown {
    calling_ae: AeTitle,
    allowed: bool,
    addresses: Vec<String>,
    called_ae: Option<AeTitle>,
    fingerprint: Option<String>,
    common_name: String,
    associations_max: u32,
    changed_at: String,
    changed_by: String,
}

/// A caller that waits for a decision, for people.
#[derive(Debug, Serialize)]
pub struct CallerShown {
    calling_ae: AeTitle,
    address: String,
    called_ae: AeTitle,
    fingerprint: Option<String>,
    common_name: String,
    reason: String,
    refused: u64,
    let_in: u64,
    first_at: String,
    last_at: String,
}

/// Who may associate.
pub struct Callers {
    catalog: Arc<Catalog>,
    clock: Clock,
    settings: CallerSettings,
    rules: RwLock<Arc<Rules>>,
    seen: Mutex<BTreeMap<(AeTitle, IpAddr), AeCaller>>,
}

/// The book, ready to be asked.
#[derive(Default)]
struct Rules {
    by_title: BTreeMap<AeTitle, (AeRule, Vec<Network>)>,
    learning_ends_at: Option<Timestamp>,
}

impl Callers {
    /// With the rules of the catalog.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn open(catalog: Arc<Catalog>, clock: Clock, settings: CallerSettings) -> Result<Self, Error> {
        let callers = Self { catalog, clock, settings, rules: RwLock::default(), seen: Mutex::default() };
        callers.refresh().await?;
        Ok(callers)
    }

    /// Judges a caller, and remembers one that nobody decided on.
    pub fn judge(&self, caller: &Caller<'_>) -> CallerVerdict {
        let rules = Arc::clone(&self.rules.read());
        let verdict = match rules.by_title.get(caller.calling_ae) {
            Some((rule, networks)) => by_rule(caller, rule, networks),
            None if self.settings.accept_unknown || self.settings.known.contains(caller.calling_ae) => {
                CallerVerdict::Allowed { associations_max: 0 }
            }
            None if self.is_learning(&rules) => CallerVerdict::LetIn,
            None => CallerVerdict::Unknown,
        };
        // One that is denied is decided on.
        if !matches!(verdict, CallerVerdict::Allowed { .. } | CallerVerdict::Denied) {
            self.remember(caller, verdict);
        }
        verdict
    }

    fn is_learning(&self, rules: &Rules) -> bool {
        rules.learning_ends_at.is_some_and(|ends_at| self.clock.now() < ends_at)
    }

    /// Until when the door learns, while it does.
    pub fn learning_until(&self) -> Option<Timestamp> {
        let rules = Arc::clone(&self.rules.read());
        rules.learning_ends_at.filter(|_| self.is_learning(&rules))
    }

    /// Adds one call to what is to be written down; beyond the bound newcomers are left out until that is done.
    fn remember(&self, caller: &Caller<'_>, verdict: CallerVerdict) {
        let now = self.clock.now();
        let mut seen = self.seen.lock();
        let is_full = seen.len() >= self.settings.remembered_max as usize;
        let known = match seen.entry((caller.calling_ae.clone(), caller.address)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(new) => new.insert(AeCaller {
                calling_ae: caller.calling_ae.clone(),
                address: caller.address.to_canonical().to_string(),
                called_ae: caller.called_ae.clone(),
                fingerprint: None,
                common_name: String::new(),
                reason: String::new(),
                refused: 0,
                let_in: 0,
                first_at: now,
                last_at: now,
            }),
        };
        known.called_ae = caller.called_ae.clone();
        known.fingerprint = caller.fingerprint;
        known.common_name = caller.common_name.to_owned();
        known.reason = verdict.reason().to_owned();
        known.last_at = now;
        let count = if verdict == CallerVerdict::LetIn { &mut known.let_in } else { &mut known.refused };
        *count += 1;
    }

    /// Reads the rules again.
    ///
    /// # Errors
    /// When the catalog cannot be read; the rules stay as they were.
    pub async fn refresh(&self) -> Result<(), Error> {
        let AeBook { rules, learning_ends_at } = self.catalog.ae_book().await?;
        let by_title = rules.into_iter().map(|rule| {
            // Checked before it was written; one that cannot be read matches nothing rather than everything.
            let networks = rule.addresses.iter().filter_map(|network| network.parse().ok()).collect();
            (rule.calling_ae.clone(), (rule, networks))
        });
        *self.rules.write() = Arc::new(Rules { by_title: by_title.collect(), learning_ends_at });
        Ok(())
    }

    /// What is to be done now and then: unknown callers are written down, rules of other nodes read, and a time of
    /// learning that is over is ended.
    ///
    /// # Errors
    /// When the catalog cannot be used.
    pub async fn keep(&self) -> Result<(), Error> {
        self.write_down().await?;
        self.refresh().await?;
        let now = self.clock.now();
        if self.rules.read().learning_ends_at.is_some_and(|ends_at| ends_at <= now) {
            self.catalog.end_ae_learning(now).await?;
            tracing::info!(target: "audit", event = "callers-changed", by = "time", what = "the door learns no more");
            self.refresh().await?;
        }
        Ok(())
    }

    /// True when nobody could come in.
    pub fn is_empty(&self) -> bool {
        let rules = Arc::clone(&self.rules.read());
        let none_allowed = !rules.by_title.values().any(|(rule, _)| rule.allowed);
        none_allowed
            && self.settings.known.is_empty()
            && !self.settings.accept_unknown
            && !self.is_learning(&rules)
    }

    /// Writes down what was seen of unknown callers since the last time.
    ///
    /// # Errors
    /// When the catalog takes it not; what was seen is lost then, as it is in a crash.
    pub async fn write_down(&self) -> Result<(), Error> {
        let seen = std::mem::take(&mut *self.seen.lock());
        if seen.is_empty() {
            return Ok(());
        }
        let rules = Arc::clone(&self.rules.read());
        let undecided = |caller: &AeCaller| {
            rules.by_title.get(&caller.calling_ae).is_none_or(|(rule, _)| rule.changed_at < caller.last_at)
        };
        let seen: Vec<AeCaller> = seen.into_values().filter(undecided).collect();
        Ok(self.catalog.remember_ae_callers(&seen, self.settings.remembered_max).await?)
    }

    /// Makes a change that `by` asked for; it holds when this returns.
    ///
    /// # Errors
    /// When it makes no sense, or the catalog takes it not; then nothing changed.
    pub async fn change(&self, change: &CallerChange, by: &str) -> Result<String, ChangeError> {
        let now = self.clock.now();
        let done = match change {
            CallerChange::Allow { calling_ae, .. } => {
                self.catalog.set_ae_rule(&rule_of(change, now, by)?).await?;
                format!("{calling_ae} may call")
            }
            CallerChange::Learned => self.allow_learned(now, by).await?,
            CallerChange::Deny { calling_ae } => {
                self.catalog
                    .set_ae_rule(&AeRule { allowed: false, ..plain_rule(calling_ae, now, by) })
                    .await?;
                format!("{calling_ae} may not call")
            }
            CallerChange::Forget { calling_ae } => {
                self.seen.lock().retain(|(title, _), _| title != calling_ae);
                if !self.catalog.forget_ae(calling_ae, self.clock.now()).await? {
                    return Err(ChangeError::Senseless(format!("nothing is known of {calling_ae}")));
                }
                format!("{calling_ae} is forgotten")
            }
            CallerChange::Learn { for_ms } => self.learn(Duration::from_millis(*for_ms), now, by).await?,
        };
        tracing::info!(target: "audit", event = "callers-changed", by, what = done);
        self.refresh().await.map_err(|error| match error {
            Error::Catalog(error) => ChangeError::Catalog(error),
            other => ChangeError::Senseless(other.to_string()),
        })?;
        Ok(done)
    }

    async fn learn(&self, length: Duration, now: Timestamp, by: &str) -> Result<String, ChangeError> {
        if length > LEARNING_LONGEST {
            return Err(ChangeError::Senseless("a door learns for a week at most".into()));
        }
        let ends_at = now.plus(length);
        if length.is_zero() {
            self.catalog.end_ae_learning(now).await?;
            return Ok("unknown callers are refused".into());
        }
        self.catalog.learn_ae(ends_at, now, by).await?;
        Ok(format!("unknown callers are let in and remembered until {ends_at}"))
    }

    /// A title that was let in from several places may call from each of them.
    async fn allow_learned(&self, now: Timestamp, by: &str) -> Result<String, ChangeError> {
        self.write_down().await.map_err(|error| ChangeError::Senseless(error.to_string()))?;
        let mut places: BTreeMap<AeTitle, BTreeSet<String>> = BTreeMap::new();
        for caller in self.catalog.ae_callers().await?.into_iter().filter(|caller| caller.let_in > 0) {
            places.entry(caller.calling_ae).or_default().insert(caller.address);
        }
        for (title, addresses) in &places {
            let addresses = addresses.iter().cloned().collect();
            self.catalog.set_ae_rule(&AeRule { addresses, ..plain_rule(title, now, by) }).await?;
        }
        let titles: Vec<&str> = places.keys().map(AeTitle::as_str).collect();
        Ok(format!("{} learned callers may call: {}", titles.len(), titles.join(", ")))
    }

    /// All that is known.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn show(&self) -> Result<CallersShown, Error> {
        self.write_down().await?;
        let book = self.catalog.ae_book().await?;
        let waiting = self.catalog.ae_callers().await?;
        Ok(CallersShown {
            rules: book.rules.into_iter().map(RuleShown::new).collect(),
            known: self.settings.known.iter().cloned().collect(),
            accept_unknown: self.settings.accept_unknown,
            waiting: waiting.into_iter().map(CallerShown::new).collect(),
            learning_until: self.learning_until().map(|until| until.to_string()),
        })
    }
}

fn by_rule(caller: &Caller<'_>, rule: &AeRule, networks: &[Network]) -> CallerVerdict {
    let is_from_there =
        rule.addresses.is_empty() || networks.iter().any(|network| network.contains(caller.address));
    let has_shown = rule.fingerprint.is_none_or(|asked| caller.fingerprint == Some(asked))
        && (rule.common_name.is_empty() || rule.common_name == caller.common_name);
    if !rule.allowed {
        CallerVerdict::Denied
    } else if !is_from_there {
        CallerVerdict::Address
    } else if !has_shown {
        CallerVerdict::Certificate
    } else if rule.called_ae.as_ref().is_some_and(|called| called != caller.called_ae) {
        CallerVerdict::Called
    } else {
        CallerVerdict::Allowed { associations_max: rule.associations_max }
    }
}

fn plain_rule(calling_ae: &AeTitle, changed_at: Timestamp, by: &str) -> AeRule {
    AeRule {
        calling_ae: calling_ae.clone(),
        allowed: true,
        addresses: Vec::new(),
        called_ae: None,
        fingerprint: None,
        common_name: String::new(),
        associations_max: 0,
        changed_at,
        changed_by: by.to_owned(),
    }
}

/// The rule an `Allow` asks for.
fn rule_of(change: &CallerChange, now: Timestamp, by: &str) -> Result<AeRule, ChangeError> {
    let CallerChange::Allow { calling_ae, addresses, called_ae, fingerprint, common_name, associations_max } =
        change
    else {
        return Err(ChangeError::Senseless("this allows nobody".into()));
    };
    let mut networks = Vec::new();
    for address in addresses {
        let network: Network = address.parse().map_err(|error| ChangeError::Senseless(format!("{error}")))?;
        networks.push(network.to_string());
    }
    let fingerprint = match fingerprint.as_deref() {
        Some(text) => Some(fingerprint_of(text).ok_or_else(|| {
            ChangeError::Senseless("a fingerprint is SHA-256: 64 hexadecimal digits".into())
        })?),
        None => None,
    };
    Ok(AeRule {
        addresses: networks,
        called_ae: called_ae.clone(),
        fingerprint,
        common_name: common_name.clone(),
        associations_max: *associations_max,
        ..plain_rule(calling_ae, now, by)
    })
}

/// `openssl x509 -fingerprint -sha256` puts colons between the bytes.
fn fingerprint_of(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl RuleShown {
    fn new(rule: AeRule) -> Self {
        Self {
            calling_ae: rule.calling_ae,
            allowed: rule.allowed,
            addresses: rule.addresses,
            called_ae: rule.called_ae,
            fingerprint: rule.fingerprint.as_ref().map(hex),
            common_name: rule.common_name,
            associations_max: rule.associations_max,
            changed_at: rule.changed_at.to_string(),
            changed_by: rule.changed_by,
        }
    }
}

impl CallerShown {
    fn new(caller: AeCaller) -> Self {
        Self {
            calling_ae: caller.calling_ae,
            address: caller.address,
            called_ae: caller.called_ae,
            fingerprint: caller.fingerprint.as_ref().map(hex),
            common_name: caller.common_name,
            reason: caller.reason,
            refused: caller.refused,
            let_in: caller.let_in,
            first_at: caller.first_at.to_string(),
            last_at: caller.last_at.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "callers_tests.rs"]
mod tests;
