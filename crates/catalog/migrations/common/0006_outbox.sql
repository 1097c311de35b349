-- What others must know is written here in the same transaction as the change it tells of, and goes from here into the
-- bucket's log: the fact's id is given here, so that stated twice, after a crash, it is still one fact.

CREATE TABLE book_outbox (
    fact_id    BLOB    NOT NULL PRIMARY KEY,
    site_id    BLOB    NOT NULL,
    node_id    BLOB    NOT NULL,
    kind       INTEGER NOT NULL,
    body       BLOB    NOT NULL, -- as the log stores it
    pack_id    BLOB,             -- the pack that is verified once this is logged
    entered_at INTEGER NOT NULL
);
CREATE INDEX book_outbox_in_order ON book_outbox (site_id, node_id, entered_at, fact_id);
CREATE UNIQUE INDEX book_outbox_by_pack ON book_outbox (pack_id);
