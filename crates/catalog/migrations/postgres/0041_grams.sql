-- Every run of three characters in what is searched by pieces of it. One or two characters are found as the beginning of a
-- run: a table of single characters and pairs beside it would say nothing more.

CREATE TABLE index_grams (
    site_id      BYTEA            NOT NULL,
    field        BIGINT           NOT NULL, -- 1 patient's name, 2 patient ID, 3 accession number, 4 study description
    gram         TEXT COLLATE "C" NOT NULL,
    study_number BIGINT           NOT NULL,
    PRIMARY KEY (site_id, field, gram, study_number)
);
