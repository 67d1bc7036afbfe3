-- Whose a stream is: the name of a principal. NULL for one that nobody has opened with a token, and for lanes.
ALTER TABLE ingest_streams ADD COLUMN owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;
