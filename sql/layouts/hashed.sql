-- As partitioned, with the ids narrowed to one number. CRC32 collides: the hash narrows, it never identifies, and
-- every lookup compares id1 and id2 as well. `id1 & 4294967295` equals CAST(id1 AS UNSIGNED) in the bits that the
-- shift keeps, and raises no note for a negative id1.
CREATE TABLE sensor_readings (
  id BIGINT NOT NULL,
  sensor_value DOUBLE NOT NULL,
  sensor_type VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  id1 INT NOT NULL,
  id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  ts DATETIME(6) NOT NULL COMMENT 'UTC',
  id_hash BIGINT UNSIGNED GENERATED ALWAYS AS (((id1 & 4294967295) << 32) | CRC32(id2)) STORED,
  PRIMARY KEY (ts, id),
  KEY by_hash_time (id_hash, ts, id)
) ENGINE = InnoDB
PARTITION BY RANGE COLUMNS (ts)
SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (
  PARTITION p_rest VALUES LESS THAN (MAXVALUE)
);
