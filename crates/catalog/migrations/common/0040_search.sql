-- Searches answer in the time of what they find, not of what there is. Studies get a number, so that tables about their text
-- need not repeat a UID of sixty characters for each of its pieces; the number means nothing outside this database.

CREATE TABLE index_studies_numbered (
    study_number             INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id                  BLOB    NOT NULL,
    study_instance_uid       TEXT    NOT NULL,
    patient_id               TEXT,
    issuer                   TEXT,
    patient_name             TEXT,
    patient_name_folded      TEXT, -- '=group=group=' in lower case, for matching
    patient_name_words       TEXT, -- its words without accents, a space before each: for fuzzy matching
    patient_birth_date       TEXT,
    patient_sex              TEXT,
    study_date               TEXT,
    study_time               TEXT,
    accession_number         TEXT,
    study_id                 TEXT,
    study_description        TEXT,
    referring_physician_name TEXT,
    referring_folded         TEXT,
    referring_words          TEXT,
    first_received_at        INTEGER NOT NULL,
    folded_by                INTEGER NOT NULL DEFAULT 0, -- which version made what is folded, and its grams; 0: none yet
    UNIQUE (site_id, study_instance_uid)
);

INSERT INTO index_studies_numbered (site_id, study_instance_uid, patient_id, issuer, patient_name, patient_name_folded,
    patient_birth_date, patient_sex, study_date, study_time, accession_number, study_id, study_description,
    referring_physician_name, referring_folded, first_received_at)
SELECT site_id, study_instance_uid, patient_id, issuer, patient_name, patient_name_folded,
    patient_birth_date, patient_sex, study_date, study_time, accession_number, study_id, study_description,
    referring_physician_name, referring_folded, first_received_at
FROM index_studies ORDER BY first_received_at, study_instance_uid;

DROP TABLE index_studies;
ALTER TABLE index_studies_numbered RENAME TO index_studies;

CREATE INDEX index_studies_by_date
    ON index_studies (site_id, COALESCE(study_date, ''), COALESCE(study_time, ''), study_instance_uid);
CREATE INDEX index_studies_by_patient ON index_studies (site_id, patient_id);
CREATE INDEX index_studies_by_accession ON index_studies (site_id, accession_number);
CREATE INDEX index_studies_to_fold ON index_studies (site_id, study_number) WHERE folded_by = 0;

-- What is longer than a modality can be is asked of nobody, and might not fit into PostgreSQL's indexes.
CREATE INDEX index_series_by_modality ON index_series (site_id, modality, study_instance_uid)
    WHERE LENGTH(modality) <= 16;
CREATE INDEX index_series_by_uid ON index_series (site_id, series_instance_uid);

-- Whether a series shows, and how many instances it has, is told by this index alone.
DROP INDEX index_instances_of_series;
CREATE INDEX index_instances_of_series
    ON index_instances (site_id, study_instance_uid, series_instance_uid, served);

-- Attributes that are kept beside the columns: those of a site's choice, and those within Request Attributes Sequence. The
-- first instance that states one has stated it for its study or series.
CREATE TABLE index_attributes (
    site_id             BLOB    NOT NULL,
    study_instance_uid  TEXT    NOT NULL,
    series_instance_uid TEXT    NOT NULL, -- '' for an attribute of the study
    sop_instance_uid    TEXT    NOT NULL, -- '' for one of the study or series
    path                TEXT    NOT NULL, -- '00101010', '00400275.00400009'
    value_number        INTEGER NOT NULL,
    value               TEXT    NOT NULL,
    folded              TEXT,             -- of names, as of a study's patient
    words               TEXT,
    PRIMARY KEY (site_id, study_instance_uid, series_instance_uid, sop_instance_uid, path, value_number)
);
CREATE INDEX index_attributes_by_value ON index_attributes (site_id, path, value) WHERE LENGTH(value) <= 64;
