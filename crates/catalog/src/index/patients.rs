//! Patients: site, patient ID and its issuer. A study without a patient ID has no patient row.

use filmgate_model::{Facts, tags};

use super::{date, text};
use crate::{
    Error,
    engine::{Connection, query},
};

/// Patient ID and issuer, which is `''` when none was stated; `None` without a patient ID.
pub(crate) fn key(facts: &Facts) -> Option<(String, String)> {
    Some((text(facts, tags::PATIENT_ID)?, text(facts, tags::ISSUER_OF_PATIENT_ID).unwrap_or_default()))
}

/// Files the patient of an instance; the first value that is there wins.
pub(crate) async fn upsert(
    writer: &mut Connection,
    site: &[u8],
    patient_id: &str,
    issuer: &str,
    facts: &Facts,
) -> Result<(), Error> {
    query(
        "INSERT INTO index_patients (site_id, patient_id, issuer, patient_name, patient_birth_date, patient_sex)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (site_id, patient_id, issuer) DO UPDATE SET
            patient_name = COALESCE(index_patients.patient_name, excluded.patient_name),
            patient_birth_date = COALESCE(index_patients.patient_birth_date, excluded.patient_birth_date),
            patient_sex = COALESCE(index_patients.patient_sex, excluded.patient_sex)",
    )
    .bind(site)
    .bind(patient_id)
    .bind(issuer)
    .bind(text(facts, tags::PATIENT_NAME))
    .bind(date(facts, tags::PATIENT_BIRTH_DATE))
    .bind(text(facts, tags::PATIENT_SEX))
    .execute(writer)
    .await?;
    Ok(())
}
