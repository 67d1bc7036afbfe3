-- How far the clock was believed: one row. Retention does not follow a clock that has jumped ahead of it.
CREATE TABLE retention_clock (
  id TINYINT UNSIGNED NOT NULL,
  trusted_us BIGINT NOT NULL COMMENT 'the latest time that was ever taken for now; microseconds since the Unix epoch, UTC',
  waiting_us BIGINT NULL COMMENT 'what a clock said last that has jumped ahead',
  steady_s INT UNSIGNED NOT NULL COMMENT 'for how long that clock has been steady, seconds',
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB;
