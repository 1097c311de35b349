//! Every verified pack is named by a batch in the bucket: asked at every start and after every batch, of the store itself,
//! behind all faults.

use std::collections::BTreeSet;

use filmgate_bucket::Bucket;
use filmgate_keys::KeyRing;
use filmgate_log::{Body, Chain, LogKey, Place};
use filmgate_model::{IncarnationId, InstanceState, PackId};

use super::{Check, Run};

impl Run {
    pub(super) fn check_named(&self) -> Check {
        let known = self.wait(self.catalog.known_packs()).map_err(|error| error.to_string())?;
        let mut verified = known.iter().filter(|pack| pack.state == InstanceState::Verified).peekable();
        if verified.peek().is_none() {
            return Ok(());
        }
        let named = self.named()?;
        match verified.find(|pack| !named.contains(&pack.pack_id)) {
            Some(pack) => {
                Err(format!("pack {} is verified and no batch in the bucket names it", pack.pack_id))
            }
            None => Ok(()),
        }
    }

    /// Packs that sound batches name, each incarnation read from its first.
    fn named(&self) -> Result<BTreeSet<PackId>, String> {
        let keys = self.keys.clone().ok_or("no keys")?;
        let objects = self.wait(self.store.list("v1/log/")).map_err(|error| error.to_string())?;
        let places: BTreeSet<Place> =
            objects.iter().filter_map(|object| Place::of_object(&object.name)).collect();
        let incarnations: BTreeSet<IncarnationId> = places.iter().map(|place| place.incarnation).collect();
        let mut named = BTreeSet::new();
        for incarnation in incarnations {
            let last = places
                .iter()
                .rfind(|place| place.incarnation == incarnation)
                .map_or(0, |place| place.sequence);
            let mut chain = Chain::new(keys.site_id(), incarnation);
            while chain.next().sequence <= last {
                let sequence = chain.next().sequence;
                match self.read_next(&mut chain, &keys) {
                    Ok(packs) => named.extend(packs),
                    // Being put, and not accepted yet.
                    Err(_) if sequence == last => break,
                    Err(error) => return Err(format!("batch {sequence} of {incarnation}: {error}")),
                }
            }
        }
        Ok(named)
    }

    fn read_next(&self, chain: &mut Chain, keys: &KeyRing) -> Result<Vec<PackId>, String> {
        let told = |error: &dyn std::error::Error| error.to_string();
        let name = chain.next().object_name();
        let object =
            self.wait(self.store.head(&name)).map_err(|error| told(&error))?.ok_or("is not there")?;
        let bytes = self.wait(self.store.get(&name, 0..object.bytes)).map_err(|error| told(&error))?;
        let head = chain.head(&bytes).map_err(|error| told(&error))?;
        let (id, generation) = (head.log_key_id, head.log_key_generation);
        let key = LogKey { id, generation, key: keys.log_key(id).map_err(|error| told(&error))? };
        let batch = chain.read(&bytes, &key).map_err(|error| told(&error))?;
        let packs = batch.facts.into_iter().filter_map(|fact| match fact.body {
            Body::PackVerified(pack) => Some(pack.pack_id),
            _ => None,
        });
        Ok(packs.collect())
    }
}
