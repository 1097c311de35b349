//! Patients, studies and series of received instances: what many instances say alike is written once.

use std::collections::HashSet;

use filmgate_model::{Tag, tags};

use super::{patients, series, studies};
use crate::{Error, ReceivedInstance, engine::Connection};

/// Attributes of patient, study and series; instances that agree in all of them are filed alike.
const FILED: [Tag; 27] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_ID,
    tags::STUDY_DESCRIPTION,
    tags::MODALITY,
    tags::SERIES_NUMBER,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::STATION_NAME,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SOP_CLASS_UID,
];

/// Files patient, study and series of every instance that is not kept apart. An instance that says what was said before
/// changes nothing: the first value that is there has won.
///
/// Patients come first and in order of their IDs: their rows are locked from here to the commit, and another node that
/// locks them too does so in the same order. Studies and series are under the locks of their studies already.
pub(crate) async fn file(
    writer: &mut Connection,
    site: &[u8],
    received: &[&ReceivedInstance],
) -> Result<(), Error> {
    let mut filed = HashSet::new();
    let readable = received.iter().filter(|instance| instance.quarantine.is_none());
    let news: Vec<_> = readable.filter(|instance| filed.insert(said(instance))).collect();
    let mut by_patient: Vec<_> =
        news.iter().filter_map(|instance| Some((patients::key(&instance.facts)?, instance))).collect();
    by_patient.sort_by(|(one, _), (other, _)| one.cmp(other));
    for ((patient_id, issuer), instance) in by_patient {
        patients::upsert(writer, site, &patient_id, &issuer, &instance.facts).await?;
    }
    for instance in news {
        let ReceivedInstance { identity, facts, provenance, .. } = instance;
        let (study, series) = (&identity.study_instance_uid, &identity.series_instance_uid);
        studies::upsert(writer, site, study, facts, provenance.received_at).await?;
        series::upsert(writer, site, study, series, facts).await?;
    }
    Ok(())
}

/// What an instance says of patient, study and series, as bytes that are equal only when all of it is.
fn said(instance: &ReceivedInstance) -> Vec<u8> {
    let identity = &instance.identity;
    let mut said = Vec::with_capacity(512);
    let mut put = |value: Option<&[u8]>| {
        said.extend_from_slice(&value.map_or(u64::MAX, |value| value.len() as u64).to_le_bytes());
        said.extend_from_slice(value.unwrap_or_default());
    };
    put(Some(identity.study_instance_uid.as_bytes()));
    put(Some(identity.series_instance_uid.as_bytes()));
    FILED.iter().for_each(|tag| put(instance.facts.raw(*tag)));
    // The same bytes from another sender may be other text.
    put(Some(&instance.facts.charset().stamp().to_le_bytes()));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::support::instance;

    #[test]
    fn instances_are_filed_alike_only_when_they_say_the_same() {
        let first = instance(1, "1.2", "1.2.1.1", &[]);
        assert_eq!(said(&first), said(&instance(2, "1.2", "1.2.1.2", &[(tags::ROWS, "12")])));
        for differs in [
            instance(2, "1.3", "1.2.1.2", &[]),
            instance(2, "1.2", "1.2.1.2", &[(tags::STUDY_DESCRIPTION, "Head")]),
            instance(2, "1.2", "1.2.1.2", &[(tags::STUDY_DESCRIPTION, "")]),
            instance(2, "1.2", "1.2.1.2", &[(tags::SPECIFIC_CHARACTER_SET, "GB18030")]),
        ] {
            assert_ne!(said(&first), said(&differs));
        }
    }
}
