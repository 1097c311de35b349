//! Studies: the attributes QIDO-RS answers with (PS3.18 table 10.6.1-5), the first value that is there wins.

use filmgate_model::{Facts, Timestamp, tags};

use super::{date, text, time};
use crate::{
    Error,
    engine::{Connection, query},
    search::fold::folded,
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
    query(UPSERT)
        .bind(site)
        .bind(study_instance_uid)
        .bind(text(facts, tags::PATIENT_ID))
        .bind(text(facts, tags::ISSUER_OF_PATIENT_ID))
        .bind(patient_name.as_deref())
        .bind(patient_name.as_deref().map(folded))
        .bind(date(facts, tags::PATIENT_BIRTH_DATE))
        .bind(text(facts, tags::PATIENT_SEX))
        .bind(date(facts, tags::STUDY_DATE))
        .bind(time(facts, tags::STUDY_TIME))
        .bind(text(facts, tags::ACCESSION_NUMBER))
        .bind(text(facts, tags::STUDY_ID))
        .bind(text(facts, tags::STUDY_DESCRIPTION))
        .bind(referring.as_deref())
        .bind(referring.as_deref().map(folded))
        .bind(received_at.0)
        .execute(writer)
        .await?;
    Ok(())
}

/// Patient ID and issuer are taken together: an issuer from elsewhere would name another patient.
const UPSERT: &str = "
INSERT INTO index_studies (
    site_id, study_instance_uid, patient_id, issuer, patient_name, patient_name_folded, patient_birth_date,
    patient_sex, study_date, study_time, accession_number, study_id, study_description,
    referring_physician_name, referring_folded, first_received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (site_id, study_instance_uid) DO UPDATE SET
    issuer = CASE WHEN index_studies.patient_id IS NULL THEN excluded.issuer ELSE index_studies.issuer END,
    patient_id = COALESCE(index_studies.patient_id, excluded.patient_id),
    patient_name = COALESCE(index_studies.patient_name, excluded.patient_name),
    patient_name_folded = COALESCE(index_studies.patient_name_folded, excluded.patient_name_folded),
    patient_birth_date = COALESCE(index_studies.patient_birth_date, excluded.patient_birth_date),
    patient_sex = COALESCE(index_studies.patient_sex, excluded.patient_sex),
    study_date = COALESCE(index_studies.study_date, excluded.study_date),
    study_time = COALESCE(index_studies.study_time, excluded.study_time),
    accession_number = COALESCE(index_studies.accession_number, excluded.accession_number),
    study_id = COALESCE(index_studies.study_id, excluded.study_id),
    study_description = COALESCE(index_studies.study_description, excluded.study_description),
    referring_physician_name = COALESCE(index_studies.referring_physician_name, excluded.referring_physician_name),
    referring_folded = COALESCE(index_studies.referring_folded, excluded.referring_folded)";
