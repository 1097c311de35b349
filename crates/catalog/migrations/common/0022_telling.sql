-- The outbox keeps the order in which things happened: a release must not be told before its hold, whatever clock and
-- chance say. And a pack's bytes go only once the log says that they do.

CREATE TABLE book_outbox_numbered (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    fact_id    BLOB    NOT NULL UNIQUE,
    site_id    BLOB    NOT NULL,
    node_id    BLOB    NOT NULL,
    kind       INTEGER NOT NULL,
    body       BLOB    NOT NULL, -- as the log stores it
    pack_id    BLOB,             -- the pack that is verified once this is logged
    goes       BLOB,             -- the pack whose bytes go once this is logged
    entered_at INTEGER NOT NULL
);
INSERT INTO book_outbox_numbered (fact_id, site_id, node_id, kind, body, pack_id, entered_at)
SELECT fact_id, site_id, node_id, kind, body, pack_id, entered_at FROM book_outbox ORDER BY entered_at, fact_id;
DROP TABLE book_outbox;
ALTER TABLE book_outbox_numbered RENAME TO book_outbox;
CREATE INDEX book_outbox_of_node ON book_outbox (site_id, node_id, number);
CREATE UNIQUE INDEX book_outbox_by_pack ON book_outbox (pack_id);
CREATE INDEX book_outbox_goes ON book_outbox (goes) WHERE goes IS NOT NULL;

-- Packs that were verified before there was a log are in none; which those are is asked once.
ALTER TABLE index_packs ADD COLUMN logged_at INTEGER;
CREATE INDEX index_packs_unlogged ON index_packs (site_id, node_id, created_at)
    WHERE logged_at IS NULL AND state = 'verified';
