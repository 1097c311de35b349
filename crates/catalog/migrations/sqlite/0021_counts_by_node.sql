-- Counts are kept for each node, so that nodes that share a catalog never wait for one row.

DROP TRIGGER index_instances_come;
DROP TRIGGER index_instances_move;
DROP TRIGGER index_instances_go;
DROP TABLE index_counts;

CREATE TABLE index_counts (
    site_id       BLOB    NOT NULL,
    node_id       BLOB    NOT NULL,
    state         TEXT    NOT NULL,
    instances     INTEGER NOT NULL,
    dataset_bytes INTEGER NOT NULL,
    PRIMARY KEY (site_id, node_id, state)
);

INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
SELECT site_id, node_id, state, COUNT(*), SUM(dataset_bytes) FROM index_instances GROUP BY site_id, node_id, state;

CREATE TRIGGER index_instances_come AFTER INSERT ON index_instances BEGIN
    INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
    VALUES (NEW.site_id, NEW.node_id, NEW.state, 1, NEW.dataset_bytes)
    ON CONFLICT (site_id, node_id, state) DO UPDATE SET
        instances = instances + 1, dataset_bytes = dataset_bytes + excluded.dataset_bytes;
END;

CREATE TRIGGER index_instances_move AFTER UPDATE OF state, node_id ON index_instances
WHEN NEW.state <> OLD.state OR NEW.node_id <> OLD.node_id BEGIN
    UPDATE index_counts SET instances = instances - 1, dataset_bytes = dataset_bytes - OLD.dataset_bytes
    WHERE site_id = OLD.site_id AND node_id = OLD.node_id AND state = OLD.state;
    INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
    VALUES (NEW.site_id, NEW.node_id, NEW.state, 1, NEW.dataset_bytes)
    ON CONFLICT (site_id, node_id, state) DO UPDATE SET
        instances = instances + 1, dataset_bytes = dataset_bytes + excluded.dataset_bytes;
END;

CREATE TRIGGER index_instances_go AFTER DELETE ON index_instances BEGIN
    UPDATE index_counts SET instances = instances - 1, dataset_bytes = dataset_bytes - OLD.dataset_bytes
    WHERE site_id = OLD.site_id AND node_id = OLD.node_id AND state = OLD.state;
END;
