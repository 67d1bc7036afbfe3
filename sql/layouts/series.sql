-- As partitioned, with one number for the three names of a reading. The names stand once for each series, and a number is
-- given to one series for ever. 'a' and 'a ' are two: utf8mb4_bin takes them for equal, so the lengths in bytes are part of
-- the key that keeps a series from being there twice.
CREATE TABLE series (
  series_id INT UNSIGNED NOT NULL,
  id1 INT NOT NULL,
  id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  sensor_type VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  first_seen DATETIME(6) NOT NULL COMMENT 'UTC, when it was given its number',
  last_seen DATE NULL COMMENT 'UTC, the day on which a reading of it was last stored',
  tagged_at DATETIME(6) NULL COMMENT 'UTC, when its tags were last set over REST: from then on those that producers tell are of no account',
  id2_bytes SMALLINT UNSIGNED GENERATED ALWAYS AS (LENGTH(id2)) VIRTUAL,
  sensor_type_bytes SMALLINT UNSIGNED GENERATED ALWAYS AS (LENGTH(sensor_type)) VIRTUAL,
  PRIMARY KEY (series_id),
  UNIQUE KEY by_names (id1, id2, sensor_type, id2_bytes, sensor_type_bytes),
  KEY by_id2 (id2)
) ENGINE = InnoDB;

-- What people say of a series.
CREATE TABLE series_tags (
  series_id INT UNSIGNED NOT NULL,
  tag VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  value VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (series_id, tag),
  KEY by_tag (tag, value, series_id)
) ENGINE = InnoDB;

-- One row, changed when series are removed: whoever remembers numbers looks at it in the transaction that uses them.
CREATE TABLE series_generation (
  id TINYINT UNSIGNED NOT NULL,
  generation BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB;

CREATE TABLE readings (
  ts DATETIME(6) NOT NULL COMMENT 'UTC',
  id BIGINT NOT NULL,
  series_id INT UNSIGNED NOT NULL,
  sensor_value DOUBLE NOT NULL,
  PRIMARY KEY (ts, id),
  KEY by_series_time (series_id, ts, id)
) ENGINE = InnoDB
PARTITION BY RANGE COLUMNS (ts)
SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (
  PARTITION p_rest VALUES LESS THAN (MAXVALUE)
);

-- An UPDATE of the view below would rename a series, and so all of its readings.
CREATE TRIGGER series_keep_their_names BEFORE UPDATE ON series FOR EACH ROW
IF NOT (NEW.series_id = OLD.series_id AND NEW.id1 = OLD.id1 AND CAST(NEW.id2 AS BINARY) = CAST(OLD.id2 AS BINARY)
  AND CAST(NEW.sensor_type AS BINARY) = CAST(OLD.sensor_type AS BINARY))
THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a series keeps its number and its names: change readings over REST'; END IF;

-- What has readings stays. Whoever remembers numbers hears of all others that go: their lock on that row is waited for
-- before it is looked whether there are readings, and the look is a locking one, which sees the newest.
CREATE TRIGGER series_with_readings_stay BEFORE DELETE ON series FOR EACH ROW
BEGIN UPDATE series_generation SET generation = generation + 1 WHERE id = 1; IF EXISTS (SELECT 1 FROM readings WHERE series_id = OLD.series_id LOCK IN SHARE MODE) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a series stays for as long as it has readings'; END IF; DELETE FROM series_tags WHERE series_id = OLD.series_id; END;

-- To read by SQL as the other layouts are read. LEFT: with an inner join MariaDB begins with series, and reads all of it for
-- a page of readings.
CREATE SQL SECURITY INVOKER VIEW sensor_readings AS
SELECT readings.id, readings.sensor_value, series.sensor_type, series.id1, series.id2, readings.ts
FROM readings LEFT JOIN series ON series.series_id = readings.series_id;
