-- Years every study is kept, as each node of the site says of itself: in this catalog or by its log. The longest binds all, for
-- any of them may be the one that deletes.
CREATE TABLE book_retention_rules (
    site_id   BLOB    NOT NULL,
    node_id   BLOB    NOT NULL,
    years     INTEGER NOT NULL,
    stated_at INTEGER NOT NULL,
    PRIMARY KEY (site_id, node_id)
);
