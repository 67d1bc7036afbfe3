-- What could not be decoded can be decoded once more, after its mapping was mended: so the quarantine keeps more of it, and
-- how it was read.
ALTER TABLE rejected_readings
    MODIFY COLUMN payload VARBINARY(8192) NULL COMMENT 'its beginning',
    ADD COLUMN payload_bytes BIGINT UNSIGNED NULL COMMENT 'how long it was',
    ADD COLUMN payload_position VARCHAR(32) CHARACTER SET ascii NULL COMMENT 'which line or record of it',
    ADD COLUMN payload_value VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
        COMMENT 'which of several values of its record; NULL for all',
    ADD COLUMN payload_context VARBINARY(2048) NULL COMMENT 'how it was read, as JSON';
