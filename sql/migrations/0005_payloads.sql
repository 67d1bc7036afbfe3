-- What could not be decoded goes into the quarantine, too: where it came from, and its beginning. Streams of sources have
-- long names: a topic of Kafka alone has up to 249 characters.
ALTER TABLE ingest_streams MODIFY COLUMN stream_id VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL;
ALTER TABLE rejected_readings
    MODIFY COLUMN stream_id VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'NULL for an anonymous call',
    ADD COLUMN origin VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
        COMMENT 'where a payload came from that could not be decoded',
    ADD COLUMN payload VARBINARY(1024) NULL COMMENT 'its beginning';
-- Names that were longer than their column: a reading has the beginning, ~ and a hash.
CREATE TABLE long_names (
  name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'as id2 or sensor_type have it',
  full_name MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (name)
) ENGINE = InnoDB;
