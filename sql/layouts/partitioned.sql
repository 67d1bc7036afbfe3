-- Rows lie in order of time, one secondary index. The newest partition's trees stay in memory, so the rate does not
-- fall as the table grows. p_rest catches what no other partition takes. The id at the end of the second key
-- is there anyway, as part of the primary key; named, it lets the database read a pair in order without sorting.
-- The ids of a lane are all odd or all even, so that two lanes share neither trees nor their latches.
CREATE TABLE sensor_readings (
  id BIGINT NOT NULL,
  sensor_value DOUBLE NOT NULL,
  sensor_type VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  id1 INT NOT NULL,
  id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  ts DATETIME(6) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (ts, id),
  KEY by_ids_time (id1, id2, ts, id)
) ENGINE = InnoDB
PARTITION BY RANGE COLUMNS (ts)
SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (
  PARTITION p_rest VALUES LESS THAN (MAXVALUE)
);
