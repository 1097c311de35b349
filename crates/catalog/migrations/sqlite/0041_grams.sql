-- Every run of three characters in what is searched by pieces of it. One or two characters are found as the beginning of a
-- run: a table of single characters and pairs beside it would say nothing more.

CREATE TABLE index_grams (
    site_id      BLOB    NOT NULL,
    field        INTEGER NOT NULL, -- 1 patient's name, 2 patient ID, 3 accession number, 4 study description
    gram         TEXT    NOT NULL,
    study_number INTEGER NOT NULL,
    PRIMARY KEY (site_id, field, gram, study_number)
) WITHOUT ROWID;
