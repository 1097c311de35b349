-- What only the book knows goes, sealed, into every bucket: which export was the last, and who of several nodes makes the next.
-- What was taken away leaves a trace, or an older export would bring it back.

CREATE TABLE book_exports (
    site_id     BLOB    NOT NULL PRIMARY KEY,
    last_number INTEGER NOT NULL, -- the last one given out; none is given out twice
    claimed_by  BLOB,             -- the node that makes one now
    claimed_at  INTEGER,
    digest      BLOB,             -- SHA-256 of what the last one that was proven holds; with it the following
    node_id     BLOB,
    incarnation BLOB,
    number      INTEGER,
    placements  TEXT,             -- where it was proven, with a space between
    exported_at INTEGER
);

CREATE TABLE book_ae_forgotten (
    site_id      BLOB    NOT NULL,
    calling_ae   TEXT    NOT NULL,
    forgotten_at INTEGER NOT NULL,
    PRIMARY KEY (site_id, calling_ae)
);

-- Recovery sheets that were typed back: which, and when. Each node says so of its own keys.
CREATE TABLE book_sheets (
    site_id      BLOB    NOT NULL,
    subject      TEXT    NOT NULL, -- the key that was on it, by name
    confirmed_at INTEGER NOT NULL,
    PRIMARY KEY (site_id, subject)
);
