-- Accounts that may do what they are for, and nothing else. Each statement is understood by MySQL 8.0 and later and by
-- MariaDB 10.5 and later. Before it is run, as an administrator of the server:
--
--   put the name of your database for `sensors`, passwords for 'change-me', and hosts for '%';
--   where the database is on another host, add REQUIRE SSL (or REQUIRE X509) to each CREATE USER.
--
-- It may be run again: what is there stays.

-- PART 1, before the first start -------------------------------------------------------------------------------------

CREATE DATABASE IF NOT EXISTS `sensors`;

-- Migration, for `sluicegate migrate`: makes the tables and their later columns, notes which it has made, and looks once
-- for the last id of a table of readings that was there before. Nothing runs under this account from day to day.
CREATE USER IF NOT EXISTS 'sluicegate_migrate'@'%' IDENTIFIED BY 'change-me';
GRANT CREATE, ALTER, SELECT, INSERT ON `sensors`.* TO 'sluicegate_migrate'@'%';
-- For the layout series, whose sensor_readings is a view, and whose series a trigger keeps from being renamed.
GRANT CREATE VIEW, TRIGGER ON `sensors`.* TO 'sluicegate_migrate'@'%';

-- PART 2, when `sluicegate migrate` has made the tables --------------------------------------------------------------

-- Ingestion, for --database-url. It sees and ends connections of its own without a privilege, and LOAD DATA LOCAL needs
-- no FILE.
CREATE USER IF NOT EXISTS 'sluicegate_ingest'@'%' IDENTIFIED BY 'change-me';
-- To see that the tables are those of this version.
GRANT SELECT ON `sensors`.`schema_migrations` TO 'sluicegate_ingest'@'%';
-- To load readings. They are loaded by REPLACE, without which the server would make other values of bad ones; it replaces
-- none, for ids are unique, and it demands DELETE. SELECT is for the trial at the start.
GRANT SELECT, INSERT, DELETE ON `sensors`.`sensor_readings` TO 'sluicegate_ingest'@'%';
-- To keep the ledger of streams and lanes. DELETE is for lanes of instances that are gone.
GRANT SELECT, INSERT, UPDATE, DELETE ON `sensors`.`ingest_streams` TO 'sluicegate_ingest'@'%';
-- To take ids.
GRANT SELECT, UPDATE ON `sensors`.`id_blocks` TO 'sluicegate_ingest'@'%';
-- To put rejected readings into the quarantine, and to let old ones go (quarantine.max_rows, quarantine.retention).
GRANT SELECT, INSERT, DELETE ON `sensors`.`rejected_readings` TO 'sluicegate_ingest'@'%';
-- To keep the full text of names that are longer than their column.
GRANT SELECT, INSERT ON `sensors`.`long_names` TO 'sluicegate_ingest'@'%';
-- To remember how far the clock was believed.
GRANT SELECT, INSERT, UPDATE ON `sensors`.`retention_clock` TO 'sluicegate_ingest'@'%';
-- To count what changes stored readings, for whoever keeps copies of them.
GRANT SELECT, INSERT, UPDATE ON `sensors`.`reading_changes` TO 'sluicegate_ingest'@'%';
-- To note batches for rollups, which each of them looks at, and to keep those (rollups). On other layouts than series SELECT is enough.
GRANT SELECT, UPDATE ON `sensors`.`rollup_state` TO 'sluicegate_ingest'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `sensors`.`rollup_batches` TO 'sluicegate_ingest'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `sensors`.`rollup_dirty` TO 'sluicegate_ingest'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `sensors`.`rollups` TO 'sluicegate_ingest'@'%';
-- To make partitions and to drop old ones. Who has DROP can drop the whole table: leave this out where
-- partitions.enabled is false, or on the layout seed, which has no partitions.
GRANT ALTER, DROP ON `sensors`.`sensor_readings` TO 'sluicegate_ingest'@'%';

-- Management, for --manage-database-url: questions and changes over REST.
CREATE USER IF NOT EXISTS 'sluicegate_manage'@'%' IDENTIFIED BY 'change-me';
-- To show readings, streams and the quarantine. With these three alone, REST can show and not change.
GRANT SELECT ON `sensors`.`sensor_readings` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`ingest_streams` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`rejected_readings` TO 'sluicegate_manage'@'%';
-- To correct readings. On the layout seed the server would set ts to now, unless it is told to leave it.
GRANT UPDATE (sensor_value, sensor_type, ts) ON `sensors`.`sensor_readings` TO 'sluicegate_manage'@'%';
-- To delete readings.
GRANT DELETE ON `sensors`.`sensor_readings` TO 'sluicegate_manage'@'%';

-- PART 3, on the layout series alone: what both accounts do with the tables behind sensor_readings -----------------------

GRANT SELECT, INSERT, DELETE ON `sensors`.`readings` TO 'sluicegate_ingest'@'%';
-- To make partitions and to drop old ones, as above.
GRANT ALTER, DROP ON `sensors`.`readings` TO 'sluicegate_ingest'@'%';
-- To give series their numbers, and to note the day on which one was last seen. Who may update more of them could rename a
-- series, and so all of its readings.
GRANT SELECT, INSERT, UPDATE (last_seen) ON `sensors`.`series` TO 'sluicegate_ingest'@'%';
GRANT SELECT ON `sensors`.`series_generation` TO 'sluicegate_ingest'@'%';
-- To keep the tags that producers tell of their series.
GRANT SELECT, INSERT, DELETE ON `sensors`.`series_tags` TO 'sluicegate_ingest'@'%';
GRANT SELECT, DELETE ON `sensors`.`readings` TO 'sluicegate_manage'@'%';
GRANT UPDATE (sensor_value, series_id) ON `sensors`.`readings` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`series` TO 'sluicegate_manage'@'%';
-- To answer from rollups.
GRANT SELECT ON `sensors`.`rollup_state` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`rollup_batches` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`rollup_dirty` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`rollups` TO 'sluicegate_manage'@'%';
-- To tag them, and to note that they are tagged.
GRANT SELECT, INSERT, UPDATE, DELETE ON `sensors`.`series_tags` TO 'sluicegate_manage'@'%';
GRANT UPDATE (tagged_at) ON `sensors`.`series` TO 'sluicegate_manage'@'%';
GRANT SELECT ON `sensors`.`series_generation` TO 'sluicegate_manage'@'%';
-- To remove series that have no readings.
GRANT DELETE ON `sensors`.`series` TO 'sluicegate_manage'@'%';
GRANT UPDATE ON `sensors`.`series_generation` TO 'sluicegate_manage'@'%';
-- For the trigger that notes which series were removed; it has the rights of who made it.
GRANT UPDATE ON `sensors`.`series_generation` TO 'sluicegate_migrate'@'%';
GRANT SELECT, DELETE ON `sensors`.`series_tags` TO 'sluicegate_migrate'@'%';

-- PART 4, to move readings into another layout: before `sluicegate migrate --to … --prepare-only` --------------------------

-- To rename tables, to take readings out of the old one, to drop it when it is empty, and to raise the counter of ids.
GRANT DROP, DELETE, UPDATE ON `sensors`.* TO 'sluicegate_migrate'@'%';

-- PART 5, to series: after that, together with PART 3 ----------------------------------------------------------------------

-- What is not yet moved is asked and changed where it is.
GRANT SELECT ON `sensors`.`sensor_readings_moving` TO 'sluicegate_ingest'@'%';
GRANT SELECT, DELETE ON `sensors`.`sensor_readings_moving` TO 'sluicegate_manage'@'%';
GRANT UPDATE (sensor_value, sensor_type, ts) ON `sensors`.`sensor_readings_moving` TO 'sluicegate_manage'@'%';

-- PART 6, the same on the way back to partitioned, in the place of PART 5 ---------------------------------------------------

GRANT SELECT ON `sensors`.`readings_moving` TO 'sluicegate_ingest'@'%';
GRANT SELECT, DELETE ON `sensors`.`readings_moving` TO 'sluicegate_manage'@'%';
GRANT UPDATE (sensor_value, series_id) ON `sensors`.`readings_moving` TO 'sluicegate_manage'@'%';
