-- What readings come to, for each series and bucket of time (setting rollups, layout series): how many there are, their sum, the lowest
-- and the highest, the first and the last. Whoever asks for years need not read the readings of years.
CREATE TABLE rollups (
  every_s INT UNSIGNED NOT NULL COMMENT 'length of the bucket, seconds',
  series_id INT UNSIGNED NOT NULL,
  bucket DATETIME NOT NULL COMMENT 'UTC, where it begins',
  readings BIGINT UNSIGNED NOT NULL,
  total DOUBLE NULL COMMENT 'NULL where the sum is beyond all doubles',
  lowest DOUBLE NOT NULL,
  highest DOUBLE NOT NULL,
  first_ts DATETIME(6) NOT NULL,
  first_id BIGINT NOT NULL,
  first_sensor_value DOUBLE NOT NULL,
  last_ts DATETIME(6) NOT NULL,
  last_id BIGINT NOT NULL,
  last_sensor_value DOUBLE NOT NULL,
  PRIMARY KEY (every_s, series_id, bucket),
  KEY by_bucket (every_s, bucket)
) ENGINE = InnoDB;

-- Row 1 says which levels there are; a load looks at it in its transaction. Row 2 is a lock: batches are merged by several at once,
-- and buckets are made anew by one, while nothing is merged.
CREATE TABLE rollup_state (
  id TINYINT UNSIGNED NOT NULL,
  every_s INT UNSIGNED NOT NULL COMMENT 'length of the shortest buckets, seconds; 0 while there are no rollups',
  levels VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'as the setting has them',
  dropped_before DATETIME(6) NULL COMMENT 'UTC; readings before it were dropped by retention',
  PRIMARY KEY (id)
) ENGINE = InnoDB;

INSERT IGNORE INTO rollup_state (id, every_s, levels, dropped_before) VALUES (1, 0, '', NULL), (2, 0, '', NULL);

-- Batches that are committed and not merged yet. Each is noted in the transaction that stores its readings.
CREATE TABLE rollup_batches (
  lane VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  batch BIGINT UNSIGNED NOT NULL,
  noted_at DATETIME(6) NOT NULL COMMENT 'UTC',
  places TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'where in time its readings lie: from-to,from-to, seconds since 1970',
  PRIMARY KEY (lane, batch)
) ENGINE = InnoDB;

-- Buckets that may not be what the readings come to, and are made anew: after a change of stored readings, or where a batch was lost
-- before it was merged.
CREATE TABLE rollup_dirty (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  every_s INT UNSIGNED NOT NULL COMMENT 'which level',
  from_s BIGINT NOT NULL COMMENT 'where the first bucket begins, seconds since 1970',
  to_s BIGINT NOT NULL COMMENT 'where the last one ends',
  id1 INT NULL COMMENT 'NULL for all series',
  id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  held_until DATETIME(6) NULL COMMENT 'UTC; a change is under way, and over by then, whatever happens',
  PRIMARY KEY (id)
) ENGINE = InnoDB;
