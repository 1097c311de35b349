-- One node at a time changes the keys of the site: two that did would each wrap keys under what the other replaces.
CREATE TABLE book_key_rotations (
    site_id BLOB    NOT NULL PRIMARY KEY,
    node_id BLOB    NOT NULL,
    held_at INTEGER NOT NULL -- its last sign of life
);
