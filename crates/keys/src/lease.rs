//! How long opened keys are held. A keeper that may be away (a token, a server) is asked again in good time; when it stays
//! away past the lease, everything opened is wiped, and nothing is received or given back until it answers again.

use std::{sync::Arc, time::Duration};

use filmgate_model::Timestamp;

use crate::{Error, Kek, KeyRing, landing::LandingKeys, take::open_site};

/// How long what is opened may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When the keeper was last heard.
    pub heard_at: Timestamp,
    /// When everything opened is wiped; `None`: never, for the key of keys itself is in memory.
    pub ends_at: Option<Timestamp>,
    /// False once it was wiped.
    pub open: bool,
}

impl KeyRing {
    /// From now on what is opened is held for so long after the keeper was heard last.
    pub fn lease_for(&self, lease: Duration) {
        self.held.write().lease = Some(lease);
    }

    /// How long what is opened may be held.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let held = self.held.read();
        let ends_at = held.lease.map(|lease| held.heard_at.plus(lease));
        Lease { heard_at: held.heard_at, ends_at, open: held.site.is_some() }
    }

    /// True when keys can be used now: the lease has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.site().is_ok()
    }

    /// Asks the keeper to open the site's keys again; the lease begins anew.
    ///
    /// # Errors
    /// [`Error::KekAway`], [`Error::KekRefused`], [`Error::Wrong`]: what is open stays so until its lease ends.
    pub fn renew(&self, kek: &Kek) -> Result<(), Error> {
        let object = self.site_object();
        let (site, earlier_files) = open_site(&*self.disk, &self.folder, kek, &object)?;
        let was_wiped = self.held.read().site.is_none();
        if was_wiped {
            let landing = LandingKeys::list(&*self.disk, &self.folder, self.site_id, &site)?;
            self.landing.lock().open_again(landing);
        }
        let mut held = self.held.write();
        // Those of a later generation may have been taken over meanwhile.
        if held.site.is_none() || self.site_object().generation() == object.generation() {
            held.site = Some(Arc::new(site));
            held.earlier_files = earlier_files;
        }
        held.heard_at = self.clock.now();
        Ok(())
    }

    /// Wipes everything opened, if the lease has ended; true when there was something to wipe.
    pub fn wipe_if_over(&self) -> bool {
        if self.site().is_ok() || self.held.read().site.is_none() {
            return false;
        }
        self.held.write().site = None;
        self.open_keys.wipe();
        self.landing.lock().wipe();
        true
    }
}
