-- The two halves of the catalog. index_* is derived: log, packs and journal rebuild it. book_* is authoritative.
-- site_id stands in every key, so that sites can share one database later without rewriting a key.
-- Identifiers and digests are bytes; times are milliseconds since 1970; absent values are NULL, never ''.

CREATE TABLE index_patients (
    site_id            BLOB    NOT NULL,
    patient_id         TEXT    NOT NULL,
    issuer             TEXT    NOT NULL, -- '' when none was stated: part of the identity all the same
    patient_name       TEXT,
    patient_birth_date TEXT,
    patient_sex        TEXT,
    PRIMARY KEY (site_id, patient_id, issuer)
);

-- Patient attributes stand here as the study states them: studies without a patient ID must not share one patient.
CREATE TABLE index_studies (
    site_id                  BLOB    NOT NULL,
    study_instance_uid       TEXT    NOT NULL,
    patient_id               TEXT,
    issuer                   TEXT,
    patient_name             TEXT,
    patient_name_folded      TEXT, -- '=group=group=' in lower case, for matching
    patient_birth_date       TEXT,
    patient_sex              TEXT,
    study_date               TEXT,
    study_time               TEXT,
    accession_number         TEXT,
    study_id                 TEXT,
    study_description        TEXT,
    referring_physician_name TEXT,
    referring_folded         TEXT,
    first_received_at        INTEGER NOT NULL,
    PRIMARY KEY (site_id, study_instance_uid)
);
CREATE INDEX index_studies_by_date
    ON index_studies (site_id, COALESCE(study_date, ''), COALESCE(study_time, ''), study_instance_uid);
CREATE INDEX index_studies_by_patient ON index_studies (site_id, patient_id);
CREATE INDEX index_studies_by_accession ON index_studies (site_id, accession_number);

CREATE TABLE index_series (
    site_id             BLOB    NOT NULL,
    study_instance_uid  TEXT    NOT NULL,
    series_instance_uid TEXT    NOT NULL,
    modality            TEXT,
    series_number       INTEGER,
    series_description  TEXT,
    series_date         TEXT,
    series_time         TEXT,
    body_part_examined  TEXT,
    protocol_name       TEXT,
    manufacturer        TEXT,
    institution_name    TEXT,
    station_name        TEXT,
    performed_date      TEXT, -- Performed Procedure Step Start Date and Time
    performed_time      TEXT,
    PRIMARY KEY (site_id, study_instance_uid, series_instance_uid)
);

CREATE TABLE index_instances (
    arrival_number      INTEGER PRIMARY KEY AUTOINCREMENT, -- the order the catalog heard of them
    record_id           BLOB    NOT NULL UNIQUE,
    site_id             BLOB    NOT NULL,
    node_id             BLOB    NOT NULL,
    study_instance_uid  TEXT    NOT NULL,
    series_instance_uid TEXT    NOT NULL,
    sop_instance_uid    TEXT    NOT NULL,
    sop_class_uid       TEXT    NOT NULL,
    transfer_syntax_uid TEXT    NOT NULL,
    instance_number     INTEGER,
    pixel_rows          INTEGER,
    pixel_columns       INTEGER,
    bits_allocated      INTEGER,
    number_of_frames    INTEGER,
    dataset_bytes       INTEGER NOT NULL,
    record_bytes        INTEGER NOT NULL,
    dataset_sha256      BLOB    NOT NULL,
    pixel_digest        BLOB,
    received_at         INTEGER NOT NULL,
    calling_ae          TEXT    NOT NULL,
    called_ae           TEXT    NOT NULL,
    peer                TEXT    NOT NULL,
    door                TEXT    NOT NULL,
    state               TEXT    NOT NULL,
    state_at            INTEGER NOT NULL,
    reason              TEXT,
    next_try_at         INTEGER,
    quarantine          BOOLEAN NOT NULL,
    pack_id             BLOB,
    pack_offset         INTEGER,
    copy_kind           TEXT    NOT NULL DEFAULT 'first', -- first, variant (other wrapping), conflict (other content)
    served              BOOLEAN NOT NULL DEFAULT FALSE    -- the one row that answers for its UID within its study
);
-- One answer for one UID: not a habit of the queries but a rule of the schema.
CREATE UNIQUE INDEX index_instances_served
    ON index_instances (site_id, study_instance_uid, sop_instance_uid) WHERE served = TRUE;
CREATE INDEX index_instances_of_series
    ON index_instances (site_id, study_instance_uid, series_instance_uid);
CREATE INDEX index_instances_by_sop ON index_instances (site_id, sop_instance_uid);
CREATE INDEX index_instances_by_pack ON index_instances (pack_id);
CREATE INDEX index_instances_unpacked
    ON index_instances (site_id, node_id, study_instance_uid, quarantine) WHERE pack_id IS NULL;
CREATE INDEX index_instances_by_state ON index_instances (site_id, state, received_at);

-- Arrivals that brought nothing new: their record is gone, the count is not.
CREATE TABLE index_dropped_copies (
    record_id  BLOB    NOT NULL PRIMARY KEY,
    site_id    BLOB    NOT NULL,
    same_as    BLOB    NOT NULL,
    dropped_at INTEGER NOT NULL
);
CREATE INDEX index_dropped_copies_by_kept ON index_dropped_copies (same_as);

CREATE TABLE index_packs (
    pack_id            BLOB    NOT NULL PRIMARY KEY,
    site_id            BLOB    NOT NULL,
    node_id            BLOB    NOT NULL,
    study_instance_uid TEXT    NOT NULL,
    study_key_id       BLOB    NOT NULL,
    quarantine         BOOLEAN NOT NULL,
    bytes              INTEGER NOT NULL,
    sha256             BLOB    NOT NULL,
    created_at         INTEGER NOT NULL,
    state              TEXT    NOT NULL,
    state_at           INTEGER NOT NULL,
    reason             TEXT,
    next_try_at        INTEGER,
    attempts           INTEGER NOT NULL DEFAULT 0,
    local              BOOLEAN NOT NULL, -- a copy is on this node's disk
    last_read_at       INTEGER NOT NULL
);
CREATE INDEX index_packs_by_state ON index_packs (site_id, state, created_at);
CREATE INDEX index_packs_local ON index_packs (site_id, node_id, last_read_at) WHERE local = TRUE;

CREATE TABLE index_placements (
    pack_id     BLOB    NOT NULL REFERENCES index_packs (pack_id) ON DELETE CASCADE,
    placement   TEXT    NOT NULL,
    site_id     BLOB    NOT NULL,
    uploaded_at INTEGER NOT NULL,
    verified_at INTEGER,
    PRIMARY KEY (pack_id, placement)
);

CREATE TABLE index_study_keys (
    study_key_id       BLOB    NOT NULL PRIMARY KEY,
    site_id            BLOB    NOT NULL,
    node_id            BLOB    NOT NULL,
    study_instance_uid TEXT    NOT NULL,
    quarantine         BOOLEAN NOT NULL,
    remembered_at      INTEGER NOT NULL
);
CREATE INDEX index_study_keys_of_study ON index_study_keys (site_id, study_instance_uid, node_id);

CREATE TABLE book_alarms (
    site_id    BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    subject    TEXT    NOT NULL, -- the record or pack it is about
    detail     TEXT    NOT NULL,
    raised_at  INTEGER NOT NULL,
    cleared_at INTEGER,
    PRIMARY KEY (site_id, kind, subject)
);
