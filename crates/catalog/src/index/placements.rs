//! Placements: a pack's copies, one in each bucket it was put in.

use filmgate_model::{PackId, Timestamp};

use crate::{
    Error,
    engine::{
        Connection, query,
        row::{get, optional_time, time},
    },
};

/// A pack's copy in one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementState {
    /// The bucket's name in the configuration.
    pub placement: String,
    /// When it was put there.
    pub uploaded_at: Timestamp,
    /// When it was proven equal there; `None` until then.
    pub verified_at: Option<Timestamp>,
}

/// The placements of a pack, by name.
pub(crate) async fn placements_of(
    reader: &mut Connection,
    pack_id: PackId,
) -> Result<Vec<PlacementState>, Error> {
    let rows = query(
        "SELECT placement, uploaded_at, verified_at FROM index_placements WHERE pack_id = $1 ORDER BY placement",
    )
    .bind(pack_id.as_bytes().as_slice())
    .fetch_all(reader)
    .await?;
    let states = rows.iter().map(|row| {
        Ok(PlacementState {
            placement: get(row, "placement")?,
            uploaded_at: time(row, "uploaded_at")?,
            verified_at: optional_time(row, "verified_at")?,
        })
    });
    states.collect()
}

/// Notes that a pack was put in a bucket.
pub(crate) async fn note_uploaded(
    writer: &mut Connection,
    site: &[u8],
    pack_id: PackId,
    placement: &str,
    at: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO index_placements (pack_id, placement, site_id, uploaded_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (pack_id, placement) DO NOTHING",
    )
    .bind(pack_id.as_bytes().as_slice())
    .bind(placement)
    .bind(site)
    .bind(at.0)
    .execute(writer)
    .await?;
    Ok(())
}

/// Notes that a pack was proven equal in a bucket.
pub(crate) async fn note_verified(
    writer: &mut Connection,
    pack_id: PackId,
    placement: &str,
    at: Timestamp,
) -> Result<(), Error> {
    query("UPDATE index_placements SET verified_at = COALESCE(verified_at, $3) WHERE pack_id = $1 AND placement = $2")
        .bind(pack_id.as_bytes().as_slice())
        .bind(placement)
        .bind(at.0)
        .execute(writer)
        .await?;
    Ok(())
}

/// Forgets a copy that turned out not to be there, or not to be equal.
pub(crate) async fn forget(writer: &mut Connection, pack_id: PackId, placement: &str) -> Result<(), Error> {
    query("DELETE FROM index_placements WHERE pack_id = $1 AND placement = $2")
        .bind(pack_id.as_bytes().as_slice())
        .bind(placement)
        .execute(writer)
        .await?;
    Ok(())
}
