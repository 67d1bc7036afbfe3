-- Where a stream stands in its producer's own source: bytes that only the producer reads, and the seq of the last reading
-- before it.
ALTER TABLE ingest_streams ADD COLUMN source_position VARBINARY(1024) NULL,
    ADD COLUMN source_seq BIGINT UNSIGNED NOT NULL DEFAULT 0;
