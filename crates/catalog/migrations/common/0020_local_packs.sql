-- Several nodes may share the catalog, and each has a disk of its own: which packs lie on whose disk, and when they were
-- read there last, is a row for each node, not a column of the pack.

CREATE TABLE index_local_packs (
    pack_id      BLOB    NOT NULL REFERENCES index_packs (pack_id) ON DELETE CASCADE,
    node_id      BLOB    NOT NULL,
    site_id      BLOB    NOT NULL,
    bytes        INTEGER NOT NULL,
    last_read_at INTEGER NOT NULL,
    PRIMARY KEY (pack_id, node_id)
);
CREATE INDEX index_local_packs_by_read ON index_local_packs (site_id, node_id, last_read_at, bytes);

INSERT INTO index_local_packs (pack_id, node_id, site_id, bytes, last_read_at)
SELECT pack_id, node_id, site_id, bytes, last_read_at FROM index_packs WHERE local = TRUE;

DROP INDEX index_packs_local;
ALTER TABLE index_packs DROP COLUMN local;
ALTER TABLE index_packs DROP COLUMN last_read_at;

-- Packs are claimed by their own node, the oldest first.
DROP INDEX index_packs_by_state;
CREATE INDEX index_packs_by_state ON index_packs (site_id, node_id, state, created_at);
