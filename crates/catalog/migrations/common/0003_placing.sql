-- Each placement of a pack is tried on its own: one that is away holds up no other. And what has arrived of an upload in
-- parts is remembered, so that it is not sent again after a restart.

CREATE TABLE index_tries (
    pack_id     BLOB    NOT NULL REFERENCES index_packs (pack_id) ON DELETE CASCADE,
    placement   TEXT    NOT NULL,
    site_id     BLOB    NOT NULL,
    attempts    INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    next_try_at INTEGER NOT NULL,
    PRIMARY KEY (pack_id, placement)
);

CREATE TABLE index_uploads (
    pack_id    BLOB    NOT NULL REFERENCES index_packs (pack_id) ON DELETE CASCADE,
    placement  TEXT    NOT NULL,
    site_id    BLOB    NOT NULL,
    upload_id  TEXT    NOT NULL, -- what the store calls it
    part_bytes INTEGER NOT NULL, -- of each part but the last
    begun_at   INTEGER NOT NULL,
    PRIMARY KEY (pack_id, placement)
);

CREATE TABLE index_upload_parts (
    pack_id     BLOB    NOT NULL,
    placement   TEXT    NOT NULL,
    part_number INTEGER NOT NULL,
    site_id     BLOB    NOT NULL,
    bytes       INTEGER NOT NULL,
    etag        TEXT    NOT NULL,
    sha256      BLOB    NOT NULL,
    PRIMARY KEY (pack_id, placement, part_number),
    FOREIGN KEY (pack_id, placement) REFERENCES index_uploads (pack_id, placement) ON DELETE CASCADE
);
