-- Nodes of the site that share this database: where each is reached and when it was last there, so that what only one of
-- them holds can be fetched from it, or be shown as held by a node that is away.

CREATE TABLE book_nodes (
    site_id      BLOB    NOT NULL,
    node_id      BLOB    NOT NULL,
    url          TEXT, -- where other nodes fetch from it; NULL when it gives nothing
    started_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    PRIMARY KEY (site_id, node_id)
);
