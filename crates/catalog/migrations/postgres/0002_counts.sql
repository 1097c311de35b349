-- How many instances are in each state, and how large they are, is asked every few seconds, of a catalog that may hold
-- millions. So it is kept as it changes, in the same transaction, whichever statement changes it: once a statement, not
-- once a row, so that a long transaction does not leave a version of the sum for each of its rows.

CREATE TABLE index_counts (
    site_id       BYTEA            NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    instances     BIGINT           NOT NULL,
    dataset_bytes BIGINT           NOT NULL,
    PRIMARY KEY (site_id, state)
);

CREATE FUNCTION index_instances_come() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_counts (site_id, state, instances, dataset_bytes)
    SELECT site_id, state, COUNT(*), SUM(dataset_bytes) FROM come GROUP BY site_id, state ORDER BY site_id, state
    ON CONFLICT (site_id, state) DO UPDATE SET
        instances = index_counts.instances + excluded.instances,
        dataset_bytes = index_counts.dataset_bytes + excluded.dataset_bytes;
    RETURN NULL;
END $$;

CREATE FUNCTION index_instances_go() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_counts (site_id, state, instances, dataset_bytes)
    SELECT site_id, state, -COUNT(*), -SUM(dataset_bytes) FROM gone GROUP BY site_id, state ORDER BY site_id, state
    ON CONFLICT (site_id, state) DO UPDATE SET
        instances = index_counts.instances + excluded.instances,
        dataset_bytes = index_counts.dataset_bytes + excluded.dataset_bytes;
    RETURN NULL;
END $$;

CREATE FUNCTION index_instances_move() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_counts (site_id, state, instances, dataset_bytes)
    SELECT site_id, state, SUM(instances), SUM(bytes) FROM (
        SELECT site_id, state, 1 AS instances, dataset_bytes AS bytes FROM come
        UNION ALL SELECT site_id, state, -1, -dataset_bytes FROM gone
    ) AS moved GROUP BY site_id, state HAVING SUM(instances) <> 0 OR SUM(bytes) <> 0 ORDER BY site_id, state
    ON CONFLICT (site_id, state) DO UPDATE SET
        instances = index_counts.instances + excluded.instances,
        dataset_bytes = index_counts.dataset_bytes + excluded.dataset_bytes;
    RETURN NULL;
END $$;

CREATE TRIGGER index_instances_come AFTER INSERT ON index_instances
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION index_instances_come();
CREATE TRIGGER index_instances_go AFTER DELETE ON index_instances
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION index_instances_go();
CREATE TRIGGER index_instances_move AFTER UPDATE ON index_instances
    REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION index_instances_move();
