-- Who may come in at which door: callers of associations by rule, users of the web by token or login. All of it belongs
-- to the book: nothing else could rebuild it.

CREATE TABLE book_ae_rules (
    site_id          BLOB    NOT NULL,
    calling_ae       TEXT    NOT NULL,
    allowed          BOOLEAN NOT NULL,
    addresses        TEXT    NOT NULL, -- networks with a space between, such as '10.1.0.0/16 10.2.0.7'; empty: anywhere
    called_ae        TEXT    NOT NULL, -- empty: whatever the door answers to
    fingerprint      BLOB,             -- SHA-256 of the certificate that must be shown; none: any, or none at all
    common_name      TEXT    NOT NULL, -- common name that the certificate's subject must have; empty: any
    associations_max INTEGER NOT NULL, -- at a time; 0: the door's own limits alone
    changed_at       INTEGER NOT NULL,
    changed_by       TEXT    NOT NULL,
    PRIMARY KEY (site_id, calling_ae)
);

-- Callers that no rule knows, until somebody decides; bounded by whoever writes.
CREATE TABLE book_ae_callers (
    site_id     BLOB    NOT NULL,
    calling_ae  TEXT    NOT NULL,
    address     TEXT    NOT NULL,
    called_ae   TEXT    NOT NULL, -- of the last time, as the two that follow
    fingerprint BLOB,
    common_name TEXT    NOT NULL,
    reason      TEXT    NOT NULL, -- why it was refused the last time; empty: it was let in
    refused     INTEGER NOT NULL,
    let_in      INTEGER NOT NULL, -- while the door was learning
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    PRIMARY KEY (site_id, calling_ae, address)
);
CREATE INDEX book_ae_callers_by_time ON book_ae_callers (site_id, last_at);

-- While a door learns, until when.
CREATE TABLE book_ae_learning (
    site_id    BLOB    NOT NULL PRIMARY KEY,
    ends_at    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    changed_by TEXT    NOT NULL
);

CREATE TABLE book_tokens (
    site_id      BLOB    NOT NULL,
    token_id     BLOB    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    digest       BLOB    NOT NULL, -- SHA-256 of the token; the token itself is nowhere
    scope        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
);
CREATE UNIQUE INDEX book_tokens_by_name ON book_tokens (site_id, name);

-- The one administrator of a site, and before there is one, the link to become it.
CREATE TABLE book_administrator (
    site_id         BLOB    NOT NULL PRIMARY KEY,
    password_hash   TEXT    NOT NULL, -- argon2id in PHC form; empty before the set-up
    set_up_digest   BLOB,             -- SHA-256 of the link's secret, while one is open
    set_up_ends_at  INTEGER,
    changed_at      INTEGER NOT NULL
);

CREATE TABLE book_sessions (
    site_id      BLOB    NOT NULL,
    digest       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the cookie's secret
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL
);
CREATE INDEX book_sessions_of_site ON book_sessions (site_id, ends_at);
