-- Counts are kept for each node, so that nodes that share a catalog never wait for one row.

DROP TABLE index_counts;

CREATE TABLE index_counts (
    site_id       BYTEA            NOT NULL,
    node_id       BYTEA            NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    instances     BIGINT           NOT NULL,
    dataset_bytes BIGINT           NOT NULL,
    PRIMARY KEY (site_id, node_id, state)
);

INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
SELECT site_id, node_id, state, COUNT(*), SUM(dataset_bytes) FROM index_instances GROUP BY site_id, node_id, state;

CREATE OR REPLACE FUNCTION index_instances_come() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
    SELECT site_id, node_id, state, COUNT(*), SUM(dataset_bytes) FROM come GROUP BY site_id, node_id, state ORDER BY site_id, node_id, state
    ON CONFLICT (site_id, node_id, state) DO UPDATE SET
        instances = index_counts.instances + excluded.instances,
        dataset_bytes = index_counts.dataset_bytes + excluded.dataset_bytes;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION index_instances_go() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
    SELECT site_id, node_id, state, -COUNT(*), -SUM(dataset_bytes) FROM gone GROUP BY site_id, node_id, state ORDER BY site_id, node_id, state
    ON CONFLICT (site_id, node_id, state) DO UPDATE SET
        instances = index_counts.instances + excluded.instances,
        dataset_bytes = index_counts.dataset_bytes + excluded.dataset_bytes;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION index_instances_move() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_counts (site_id, node_id, state, instances, dataset_bytes)
    SELECT site_id, node_id, state, SUM(instances), SUM(bytes) FROM (
        SELECT site_id, node_id, state, 1 AS instances, dataset_bytes AS bytes FROM come
        UNION ALL SELECT site_id, node_id, state, -1, -dataset_bytes FROM gone
    ) AS moved GROUP BY site_id, node_id, state HAVING SUM(instances) <> 0 OR SUM(bytes) <> 0 ORDER BY site_id, node_id, state
    ON CONFLICT (site_id, node_id, state) DO UPDATE SET
        instances = index_counts.instances + excluded.instances,
        dataset_bytes = index_counts.dataset_bytes + excluded.dataset_bytes;
    RETURN NULL;
END $$;
