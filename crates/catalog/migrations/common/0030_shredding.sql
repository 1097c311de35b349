-- What was deleted stays in copies nobody can reach: an old version, a backup of a bucket, a disk that was replaced. Its
-- keys are destroyed, in every place that had them, and each place says when it was done or why not.

-- Asked for as a shredding: carried out without a grace.
ALTER TABLE book_deletions ADD COLUMN shreds BOOLEAN NOT NULL DEFAULT FALSE;
-- When every key of what a deletion of a whole study named was given up; what keeps one, until then.
ALTER TABLE book_deletions ADD COLUMN keys_gone_at INTEGER;
ALTER TABLE book_deletions ADD COLUMN keys_wait_for TEXT;
ALTER TABLE book_deletions ADD COLUMN keys_tried_at INTEGER;
CREATE INDEX book_deletions_with_keys ON book_deletions (site_id, keys_tried_at)
    WHERE done_at IS NOT NULL AND sop_instance_uid IS NULL AND keys_gone_at IS NULL;

-- Nothing is sealed under such a key any more, for ever.
CREATE TABLE book_shredded_keys (
    study_key_id       BLOB    NOT NULL PRIMARY KEY,
    site_id            BLOB    NOT NULL,
    study_instance_uid TEXT    NOT NULL, -- '' when another node's log named it and this catalog never knew it
    who                TEXT    NOT NULL,
    why                TEXT    NOT NULL,
    shredded_at        INTEGER NOT NULL
);
CREATE INDEX book_shredded_keys_of_study ON book_shredded_keys (site_id, study_instance_uid);

CREATE TABLE book_shred_places (
    study_key_id BLOB    NOT NULL REFERENCES book_shredded_keys (study_key_id),
    site_id      BLOB    NOT NULL,
    place        TEXT    NOT NULL, -- bucket:NAME, node:ID, journal:ID
    done_at      INTEGER,
    reason       TEXT,             -- why not yet
    next_try_at  INTEGER,
    PRIMARY KEY (study_key_id, place)
);
CREATE INDEX book_shred_places_open ON book_shred_places (site_id, place, next_try_at) WHERE done_at IS NULL;

CREATE INDEX index_packs_by_key ON index_packs (study_key_id);
