-- The ledger: how far each stream is committed, and who may write it. A lane of a service instance is a row too
-- ("lane:<instance>/<n>", committed_seq is its batch number): after a lost connection that row tells whether the
-- COMMIT happened. The counts of a lane are those of the anonymous readings that it committed.
CREATE TABLE ingest_streams (
  stream_id VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  committed_seq BIGINT UNSIGNED NOT NULL DEFAULT 0,
  committed BIGINT UNSIGNED NOT NULL DEFAULT 0,
  rejected BIGINT UNSIGNED NOT NULL DEFAULT 0,
  duplicate BIGINT UNSIGNED NOT NULL DEFAULT 0,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (stream_id)
) ENGINE = InnoDB;

-- The quarantine: readings that were not stored, as they were sent but for texts beyond 255 characters, and why.
CREATE TABLE rejected_readings (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  stream_id VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'NULL for an anonymous call',
  seq BIGINT UNSIGNED NOT NULL COMMENT 'position in the stream or call, from 1',
  field VARCHAR(32) CHARACTER SET ascii NOT NULL,
  reason TEXT CHARACTER SET utf8mb4 NOT NULL,
  sensor_value VARCHAR(32) CHARACTER SET ascii NOT NULL COMMENT 'as text: NaN and the infinities have no number',
  sensor_type MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  id1 INT NOT NULL,
  id2 MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  timestamp_us BIGINT NOT NULL COMMENT 'microseconds since the Unix epoch, UTC',
  rejected_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  KEY by_stream (stream_id, seq),
  KEY by_time (rejected_at)
) ENGINE = InnoDB;

-- Where the next block of reading ids begins.
CREATE TABLE id_blocks (
  name VARCHAR(64) CHARACTER SET ascii NOT NULL,
  next_id BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (name)
) ENGINE = InnoDB;
