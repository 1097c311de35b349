//! Series: the attributes QIDO-RS answers with (PS3.18 table 10.6.1-6), the first value that is there wins.

use filmgate_model::{Facts, tags};

use super::{date, text, time};
use crate::{
    Error,
    engine::{Connection, query},
};

/// Files the series of an instance.
pub(crate) async fn upsert(
    writer: &mut Connection,
    site: &[u8],
    study_instance_uid: &str,
    series_instance_uid: &str,
    facts: &Facts,
) -> Result<(), Error> {
    query(UPSERT)
        .bind(site)
        .bind(study_instance_uid)
        .bind(series_instance_uid)
        .bind(text(facts, tags::MODALITY))
        .bind(facts.integer(tags::SERIES_NUMBER))
        .bind(text(facts, tags::SERIES_DESCRIPTION))
        .bind(date(facts, tags::SERIES_DATE))
        .bind(time(facts, tags::SERIES_TIME))
        .bind(text(facts, tags::BODY_PART_EXAMINED))
        .bind(text(facts, tags::PROTOCOL_NAME))
        .bind(text(facts, tags::MANUFACTURER))
        .bind(text(facts, tags::INSTITUTION_NAME))
        .bind(text(facts, tags::STATION_NAME))
        .bind(date(facts, tags::PERFORMED_PROCEDURE_STEP_START_DATE))
        .bind(time(facts, tags::PERFORMED_PROCEDURE_STEP_START_TIME))
        .execute(writer)
        .await?;
    Ok(())
}

/// What brings nothing new writes nothing.
const UPSERT: &str = "
INSERT INTO index_series (
    site_id, study_instance_uid, series_instance_uid, modality, series_number, series_description, series_date,
    series_time, body_part_examined, protocol_name, manufacturer, institution_name, station_name, performed_date,
    performed_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (site_id, study_instance_uid, series_instance_uid) DO UPDATE SET
    modality = COALESCE(index_series.modality, excluded.modality),
    series_number = COALESCE(index_series.series_number, excluded.series_number),
    series_description = COALESCE(index_series.series_description, excluded.series_description),
    series_date = COALESCE(index_series.series_date, excluded.series_date),
    series_time = COALESCE(index_series.series_time, excluded.series_time),
    body_part_examined = COALESCE(index_series.body_part_examined, excluded.body_part_examined),
    protocol_name = COALESCE(index_series.protocol_name, excluded.protocol_name),
    manufacturer = COALESCE(index_series.manufacturer, excluded.manufacturer),
    institution_name = COALESCE(index_series.institution_name, excluded.institution_name),
    station_name = COALESCE(index_series.station_name, excluded.station_name),
    performed_date = COALESCE(index_series.performed_date, excluded.performed_date),
    performed_time = COALESCE(index_series.performed_time, excluded.performed_time)
WHERE index_series.modality IS NULL AND excluded.modality IS NOT NULL
    OR index_series.series_number IS NULL AND excluded.series_number IS NOT NULL
    OR index_series.series_description IS NULL AND excluded.series_description IS NOT NULL
    OR index_series.series_date IS NULL AND excluded.series_date IS NOT NULL
    OR index_series.series_time IS NULL AND excluded.series_time IS NOT NULL
    OR index_series.body_part_examined IS NULL AND excluded.body_part_examined IS NOT NULL
    OR index_series.protocol_name IS NULL AND excluded.protocol_name IS NOT NULL
    OR index_series.manufacturer IS NULL AND excluded.manufacturer IS NOT NULL
    OR index_series.institution_name IS NULL AND excluded.institution_name IS NOT NULL
    OR index_series.station_name IS NULL AND excluded.station_name IS NOT NULL
    OR index_series.performed_date IS NULL AND excluded.performed_date IS NOT NULL
    OR index_series.performed_time IS NULL AND excluded.performed_time IS NOT NULL";
