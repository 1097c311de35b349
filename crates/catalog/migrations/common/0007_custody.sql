-- Who may lose what. A deletion names records, never a UID: what was there when it was asked for, and nothing that comes
-- later under the same UID.

CREATE TABLE book_holds (
    hold_id            BLOB    NOT NULL PRIMARY KEY,
    site_id            BLOB    NOT NULL,
    study_instance_uid TEXT    NOT NULL,
    who                TEXT    NOT NULL,
    why                TEXT    NOT NULL,
    placed_at          INTEGER NOT NULL,
    released_by        TEXT,
    released_why       TEXT,
    released_at        INTEGER
);
CREATE INDEX book_holds_of_study ON book_holds (site_id, study_instance_uid);

-- Beside the site's own period, which every study has: a time set for one study, prolonged and never shortened.
CREATE TABLE book_retention (
    site_id            BLOB    NOT NULL,
    study_instance_uid TEXT    NOT NULL,
    keep_until         INTEGER NOT NULL,
    who                TEXT    NOT NULL,
    why                TEXT    NOT NULL,
    set_at             INTEGER NOT NULL,
    PRIMARY KEY (site_id, study_instance_uid)
);

CREATE TABLE book_deletions (
    deletion_id        BLOB    NOT NULL PRIMARY KEY,
    site_id            BLOB    NOT NULL,
    study_instance_uid TEXT    NOT NULL,
    sop_instance_uid   TEXT,    -- NULL: all of the study
    who                TEXT    NOT NULL,
    why                TEXT    NOT NULL,
    requested_at       INTEGER NOT NULL,
    confirmed_by       TEXT,
    confirmed_at       INTEGER,
    due_at             INTEGER, -- nothing goes before
    cancelled_by       TEXT,
    cancelled_why      TEXT,
    cancelled_at       INTEGER,
    done_at            INTEGER,
    waits_for          TEXT     -- what keeps a due deletion from being carried out
);
CREATE INDEX book_deletions_by_time ON book_deletions (site_id, requested_at);
CREATE INDEX book_deletions_due ON book_deletions (site_id, due_at)
    WHERE due_at IS NOT NULL AND cancelled_at IS NULL AND done_at IS NULL;

CREATE TABLE book_deletion_records (
    deletion_id BLOB    NOT NULL REFERENCES book_deletions (deletion_id),
    record_id   BLOB    NOT NULL,
    deleted_at  INTEGER,
    PRIMARY KEY (deletion_id, record_id)
);
CREATE INDEX book_deletion_records_by_record ON book_deletion_records (record_id);

-- Named by a deletion that stands: no other copy is dropped against it. Hidden once that is confirmed.
ALTER TABLE index_instances ADD COLUMN deletion_id BLOB;
ALTER TABLE index_instances ADD COLUMN hidden BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX index_instances_by_deletion ON index_instances (deletion_id) WHERE deletion_id IS NOT NULL;

-- What the status counts every few seconds is a handful among many.
CREATE INDEX index_instances_beside ON index_instances (site_id, copy_kind) WHERE copy_kind <> 'first';
CREATE INDEX index_instances_hidden ON index_instances (site_id) WHERE hidden = TRUE;

-- A pack whose records stand in another one, and one whose bytes are being, or have been, taken away.
ALTER TABLE index_packs ADD COLUMN replaced_by BLOB;
ALTER TABLE index_packs ADD COLUMN replaced_at INTEGER;
ALTER TABLE index_packs ADD COLUMN gone_at INTEGER;
CREATE INDEX index_packs_of_study ON index_packs (site_id, node_id, study_instance_uid);
CREATE INDEX index_packs_replaced ON index_packs (site_id, node_id, replaced_at)
    WHERE replaced_at IS NOT NULL AND gone_at IS NULL;

-- Records copied into a new pack that is not verified yet: until it is, they are read from the old one.
CREATE TABLE index_moves (
    record_id  BLOB    NOT NULL PRIMARY KEY,
    site_id    BLOB    NOT NULL,
    from_pack  BLOB    NOT NULL,
    to_pack    BLOB    NOT NULL,
    to_offset  INTEGER NOT NULL
);
CREATE INDEX index_moves_to ON index_moves (to_pack);
CREATE INDEX index_moves_from ON index_moves (from_pack);
