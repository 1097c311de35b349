-- How far this catalog has come with what each node's data directory stated in the log. One that is behind was lost, or brought
-- back from an older copy, and hears first what was decided since.

CREATE TABLE book_log_positions (
    site_id     BLOB    NOT NULL,
    node_id     BLOB    NOT NULL,
    incarnation BLOB    NOT NULL, -- the run of batches
    sequence    INTEGER NOT NULL, -- the last of them that is entered here; 0 for none yet
    PRIMARY KEY (site_id, node_id)
);
