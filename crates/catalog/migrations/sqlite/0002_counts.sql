-- How many instances are in each state, and how large they are, is asked every few seconds, of a catalog that may hold
-- millions. So it is kept as it changes, in the same transaction, whichever statement changes it.

CREATE TABLE index_counts (
    site_id       BLOB    NOT NULL,
    state         TEXT    NOT NULL,
    instances     INTEGER NOT NULL,
    dataset_bytes INTEGER NOT NULL,
    PRIMARY KEY (site_id, state)
);

INSERT INTO index_counts (site_id, state, instances, dataset_bytes)
SELECT site_id, state, COUNT(*), SUM(dataset_bytes) FROM index_instances GROUP BY site_id, state;

CREATE TRIGGER index_instances_come AFTER INSERT ON index_instances BEGIN
    INSERT INTO index_counts (site_id, state, instances, dataset_bytes)
    VALUES (NEW.site_id, NEW.state, 1, NEW.dataset_bytes)
    ON CONFLICT (site_id, state) DO UPDATE SET
        instances = instances + 1, dataset_bytes = dataset_bytes + excluded.dataset_bytes;
END;

CREATE TRIGGER index_instances_move AFTER UPDATE OF state ON index_instances WHEN NEW.state <> OLD.state BEGIN
    UPDATE index_counts SET instances = instances - 1, dataset_bytes = dataset_bytes - OLD.dataset_bytes
    WHERE site_id = OLD.site_id AND state = OLD.state;
    INSERT INTO index_counts (site_id, state, instances, dataset_bytes)
    VALUES (NEW.site_id, NEW.state, 1, NEW.dataset_bytes)
    ON CONFLICT (site_id, state) DO UPDATE SET
        instances = instances + 1, dataset_bytes = dataset_bytes + excluded.dataset_bytes;
END;

CREATE TRIGGER index_instances_go AFTER DELETE ON index_instances BEGIN
    UPDATE index_counts SET instances = instances - 1, dataset_bytes = dataset_bytes - OLD.dataset_bytes
    WHERE site_id = OLD.site_id AND state = OLD.state;
END;
