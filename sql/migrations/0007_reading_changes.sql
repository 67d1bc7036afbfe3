-- How many changes of stored readings (deletes, updates, retention) each instance has begun and ended. Whoever keeps copies of readings
-- outside of the database asks for these before it believes them.
CREATE TABLE reading_changes (
  instance VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  begun BIGINT UNSIGNED NOT NULL,
  ended BIGINT UNSIGNED NOT NULL,
  open_until DATETIME(6) NOT NULL COMMENT 'UTC; changes that have not ended by then never will',
  PRIMARY KEY (instance)
) ENGINE = InnoDB;
