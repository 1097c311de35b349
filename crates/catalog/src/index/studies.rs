//! Studies: the attributes QIDO-RS answers with (PS3.18 table 10.6.1-5), the first value that is there wins.

use filmgate_model::{Facts, Timestamp, tags};

use super::{
    date,
    folding::{FOLDED_BY, enter_grams},
    text, time,
};
use crate::{
    Error,
    engine::{Connection, query, row::get},
    search::fold::{folded, words},
};

/// Files the study of an instance.
pub(crate) async fn upsert(
    writer: &mut Connection,
    site: &[u8],
    study_instance_uid: &str,
    facts: &Facts,
    received_at: Timestamp,
) -> Result<(), Error> {
    let patient_name = text(facts, tags::PATIENT_NAME);
    let referring = text(facts, tags::REFERRING_PHYSICIAN_NAME);
    let changed = query(UPSERT)
        .bind(site)
        .bind(study_instance_uid)
        .bind(text(facts, tags::PATIENT_ID))
        .bind(text(facts, tags::ISSUER_OF_PATIENT_ID))
        .bind(patient_name.as_deref())
        .bind(patient_name.as_deref().map(folded))
        .bind(patient_name.as_deref().map(words))
        .bind(date(facts, tags::PATIENT_BIRTH_DATE))
        .bind(text(facts, tags::PATIENT_SEX))
        .bind(date(facts, tags::STUDY_DATE))
        .bind(time(facts, tags::STUDY_TIME))
        .bind(text(facts, tags::ACCESSION_NUMBER))
        .bind(text(facts, tags::STUDY_ID))
        .bind(text(facts, tags::STUDY_DESCRIPTION))
        .bind(referring.as_deref())
        .bind(referring.as_deref().map(folded))
        .bind(referring.as_deref().map(words))
        .bind(received_at.0)
        .bind(FOLDED_BY)
        .fetch_optional(&mut *writer)
        .await?;
    match changed {
        Some(row) => {
            let words: Option<&str> = get(&row, "patient_name_words")?;
            enter_grams(writer, site, get(&row, "study_number")?, words, &row).await
        }
        None => Ok(()),
    }
}

/// Patient ID and issuer are taken together: an issuer from elsewhere would name another patient. What brings nothing new
/// writes nothing.
const UPSERT: &str = "
INSERT INTO index_studies (
    site_id, study_instance_uid, patient_id, issuer, patient_name, patient_name_folded, patient_name_words,
    patient_birth_date, patient_sex, study_date, study_time, accession_number, study_id, study_description,
    referring_physician_name, referring_folded, referring_words, first_received_at, folded_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (site_id, study_instance_uid) DO UPDATE SET
    issuer = CASE WHEN index_studies.patient_id IS NULL AND excluded.patient_id IS NOT NULL THEN excluded.issuer
        WHEN index_studies.patient_id IS NULL THEN COALESCE(index_studies.issuer, excluded.issuer)
        ELSE index_studies.issuer END,
    patient_id = COALESCE(index_studies.patient_id, excluded.patient_id),
    patient_name = COALESCE(index_studies.patient_name, excluded.patient_name),
    patient_name_folded = COALESCE(index_studies.patient_name_folded, excluded.patient_name_folded),
    patient_name_words = COALESCE(index_studies.patient_name_words, excluded.patient_name_words),
    patient_birth_date = COALESCE(index_studies.patient_birth_date, excluded.patient_birth_date),
    patient_sex = COALESCE(index_studies.patient_sex, excluded.patient_sex),
    study_date = COALESCE(index_studies.study_date, excluded.study_date),
    study_time = COALESCE(index_studies.study_time, excluded.study_time),
    accession_number = COALESCE(index_studies.accession_number, excluded.accession_number),
    study_id = COALESCE(index_studies.study_id, excluded.study_id),
    study_description = COALESCE(index_studies.study_description, excluded.study_description),
    referring_physician_name = COALESCE(index_studies.referring_physician_name, excluded.referring_physician_name),
    referring_folded = COALESCE(index_studies.referring_folded, excluded.referring_folded),
    referring_words = COALESCE(index_studies.referring_words, excluded.referring_words)
WHERE index_studies.patient_id IS NULL AND excluded.patient_id IS NOT NULL
    OR index_studies.patient_id IS NULL AND index_studies.issuer IS NULL AND excluded.issuer IS NOT NULL
    OR index_studies.patient_name IS NULL AND excluded.patient_name IS NOT NULL
    OR index_studies.patient_birth_date IS NULL AND excluded.patient_birth_date IS NOT NULL
    OR index_studies.patient_sex IS NULL AND excluded.patient_sex IS NOT NULL
    OR index_studies.study_date IS NULL AND excluded.study_date IS NOT NULL
    OR index_studies.study_time IS NULL AND excluded.study_time IS NOT NULL
    OR index_studies.accession_number IS NULL AND excluded.accession_number IS NOT NULL
    OR index_studies.study_id IS NULL AND excluded.study_id IS NOT NULL
    OR index_studies.study_description IS NULL AND excluded.study_description IS NOT NULL
    OR index_studies.referring_physician_name IS NULL AND excluded.referring_physician_name IS NOT NULL
RETURNING study_number, patient_name_words, patient_id, accession_number, study_description";
