//! Record keys between the nodes of a site: a node gives another a sealed record and the key to it, wrapped under what
//! both have.

use filmgate_model::RecordId;
use filmgate_seal::{RecordKey, WRAPPED_KEY_BYTES, WrappingKey, unwrap_key, wrap_key};

use crate::{Error, KeyRing, key_file::Key};

/// Bytes of what [`KeyRing::wrap_for_peer`] gives: the number of the site key, the wrapped key.
pub const PEER_KEY_BYTES: usize = 4 + WRAPPED_KEY_BYTES;

impl KeyRing {
    /// Wraps a record's key for another node of this site: the number of the site key (little endian), the wrapped key.
    ///
    /// # Errors
    /// When the site's keys are not at hand.
    pub fn wrap_for_peer(&self, record_id: RecordId, key: &RecordKey) -> Result<Vec<u8>, Error> {
        let site = self.site()?;
        let current = site.current();
        let (wrapping, associated_data) = self.between_peers(&current.key, record_id);
        let wrapped = wrap_key(&wrapping, key.as_bytes(), &associated_data, &self.random);
        Ok([current.number.to_le_bytes().as_slice(), &wrapped].concat())
    }

    /// The record's key in what another node's [`KeyRing::wrap_for_peer`] gave.
    ///
    /// # Errors
    /// [`Error::RecordKey`] when it is damaged, another record's, or of another site; or when the site's keys are not at
    /// hand.
    pub fn unwrap_from_peer(&self, record_id: RecordId, blob: &[u8]) -> Result<RecordKey, Error> {
        let wrong = || Error::RecordKey(record_id);
        let (number, wrapped) = blob.split_first_chunk().ok_or_else(wrong)?;
        let site = self.site()?;
        let site_key = site.numbered(u32::from_le_bytes(*number)).ok_or_else(wrong)?;
        let (wrapping, associated_data) = self.between_peers(&site_key.key, record_id);
        let key = unwrap_key(&wrapping, wrapped, &associated_data).map_err(|_| wrong())?;
        Ok(RecordKey::from_bytes(*key))
    }

    fn between_peers(&self, site_key: &Key, record_id: RecordId) -> (WrappingKey, Vec<u8>) {
        let wrapping =
            WrappingKey::derive(site_key, "wrap record key for another node", record_id.as_bytes());
        (wrapping, [self.site_id.as_bytes().as_slice(), record_id.as_bytes()].concat())
    }
}
