//! Uploads in parts: what the store calls each, and which of its parts have arrived.

use filmgate_model::{PackId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        Connection, query,
        row::{fixed, get, id, signed, unsigned},
    },
};

/// An upload that was begun and is not an object yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInParts {
    /// What the store calls it.
    pub upload_id: String,
    /// Length of each part but the last.
    pub part_bytes: u64,
    /// The parts that have arrived, in order.
    pub parts: Vec<UploadedPart>,
}

/// A part that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its place, from 1.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// What the store calls it.
    pub etag: String,
    /// SHA-256 of what was sent.
    pub sha256: [u8; 32],
}

/// An upload that leads nowhere any more: its pack needs it no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUpUpload {
    /// The pack.
    pub pack_id: PackId,
    /// What the store calls the upload.
    pub upload_id: String,
}

impl Catalog {
    /// The upload of a pack to a placement that is under way; `None` when there is none.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn upload_in_parts(
        &self,
        pack_id: PackId,
        placement: &str,
    ) -> Result<Option<UploadInParts>, Error> {
        self.engine
            .run("look for an upload in parts", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT upload_id, part_bytes FROM index_uploads WHERE pack_id = $1 AND placement = $2",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(placement)
                .fetch_optional(&mut reader)
                .await?;
                let Some(row) = row else { return Ok(None) };
                Ok(Some(UploadInParts {
                    upload_id: get(&row, "upload_id")?,
                    part_bytes: unsigned(&row, "part_bytes")?,
                    parts: parts_of(&mut reader, pack_id, placement).await?,
                }))
            })
            .await
    }

    /// An upload in parts was begun; one of the same pack to the same placement is forgotten with its parts.
    ///
    /// # Errors
    /// When a statement fails, for instance because the pack is not known.
    pub async fn record_upload_begun(
        &self,
        pack_id: PackId,
        placement: &str,
        upload_id: &str,
        part_bytes: u64,
        at: Timestamp,
    ) -> Result<(), Error> {
        let part_bytes = signed(part_bytes, "a part's length")?;
        self.engine
            .run("record an upload in parts", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                forget_upload(&mut transaction, pack_id, placement).await?;
                query(
                    "INSERT INTO index_uploads (pack_id, placement, site_id, upload_id, part_bytes, begun_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(placement)
                .bind(self.site())
                .bind(upload_id)
                .bind(part_bytes)
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                transaction.commit().await
            })
            .await
    }

    /// A part has arrived. One of an upload that is not under way any more is not noted.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn record_part(
        &self,
        pack_id: PackId,
        placement: &str,
        upload_id: &str,
        part: &UploadedPart,
    ) -> Result<(), Error> {
        let bytes = signed(part.bytes, "a part's length")?;
        self.engine
            .run("record a part", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "INSERT INTO index_upload_parts
                        (pack_id, placement, part_number, site_id, bytes, etag, sha256)
                     SELECT pack_id, placement, $4, site_id, $5, $6, $7 FROM index_uploads
                     WHERE pack_id = $1 AND placement = $2 AND upload_id = $3
                     ON CONFLICT (pack_id, placement, part_number) DO UPDATE SET
                        bytes = excluded.bytes, etag = excluded.etag, sha256 = excluded.sha256",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(placement)
                .bind(upload_id)
                .bind(i64::from(part.number))
                .bind(bytes)
                .bind(part.etag.as_str())
                .bind(part.sha256.as_slice())
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }

    /// An upload in parts is over, whichever way.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn forget_upload_in_parts(&self, pack_id: PackId, placement: &str) -> Result<(), Error> {
        self.engine
            .run("forget an upload in parts", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                forget_upload(&mut transaction, pack_id, placement).await?;
                transaction.commit().await
            })
            .await
    }

    /// Uploads to a placement whose packs are not on their way there any more.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn uploads_given_up(&self, placement: &str) -> Result<Vec<GivenUpUpload>, Error> {
        self.engine
            .run("list uploads that lead nowhere", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT u.pack_id, u.upload_id FROM index_uploads u JOIN index_packs p ON p.pack_id = u.pack_id
                     WHERE p.site_id = $1 AND p.node_id = $2 AND u.placement = $3
                        AND p.state NOT IN ('packed', 'retrying')
                     ORDER BY u.pack_id",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(placement)
                .fetch_all(&mut reader)
                .await?;
                let given_up = rows.iter().map(|row| {
                    Ok(GivenUpUpload { pack_id: PackId(id(row, "pack_id")?), upload_id: get(row, "upload_id")? })
                });
                given_up.collect()
            })
            .await
    }

    /// True when an upload is one that is under way, here or on another node of the catalog.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn is_known_upload(&self, placement: &str, upload_id: &str) -> Result<bool, Error> {
        self.engine
            .run("look for an upload", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT pack_id FROM index_uploads WHERE site_id = $1 AND placement = $2 AND upload_id = $3",
                )
                .bind(self.site())
                .bind(placement)
                .bind(upload_id)
                .fetch_optional(&mut reader)
                .await?;
                Ok(row.is_some())
            })
            .await
    }
}

async fn parts_of(
    reader: &mut Connection,
    pack_id: PackId,
    placement: &str,
) -> Result<Vec<UploadedPart>, Error> {
    let rows = query(
        "SELECT part_number, bytes, etag, sha256 FROM index_upload_parts
         WHERE pack_id = $1 AND placement = $2 ORDER BY part_number",
    )
    .bind(pack_id.as_bytes().as_slice())
    .bind(placement)
    .fetch_all(reader)
    .await?;
    let parts = rows.iter().map(|row| {
        Ok(UploadedPart {
            number: u32::try_from(unsigned(row, "part_number")?).unwrap_or(u32::MAX),
            bytes: unsigned(row, "bytes")?,
            etag: get(row, "etag")?,
            sha256: fixed(row, "sha256")?,
        })
    });
    parts.collect()
}

/// The parts go with it.
pub(crate) async fn forget_upload(
    writer: &mut Connection,
    pack_id: PackId,
    placement: &str,
) -> Result<(), Error> {
    query("DELETE FROM index_uploads WHERE pack_id = $1 AND placement = $2")
        .bind(pack_id.as_bytes().as_slice())
        .bind(placement)
        .execute(writer)
        .await?;
    Ok(())
}
