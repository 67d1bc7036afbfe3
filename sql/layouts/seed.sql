-- The schema as first specified. Four B-trees for each reading, and timestamps of whole seconds up to 2038.
CREATE TABLE sensor_readings (
  id BIGINT NOT NULL AUTO_INCREMENT,
  sensor_value DOUBLE NOT NULL,
  sensor_type VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  id1 INT NOT NULL,
  id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  ts TIMESTAMP NOT NULL,
  PRIMARY KEY (id),
  KEY by_time (ts),
  KEY by_ids (id1, id2),
  KEY by_ids_time (id1, id2, ts)
) ENGINE = InnoDB;
