"""A private PostgreSQL, with or without TimescaleDB, and what it takes to store the same readings there: COPY by a client for
each file, into a table that is divided by time as ours are."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from builds import CACHE
from cases import minutes_of, table
from process import RUNNING, Unbalanced, cpu_seconds, end

HOME = CACHE / "postgresql"

# What is acknowledged survives a loss of power, and the rest is as large as the MySQL and MariaDB beside it have it.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    # None of it is written twice by a checkpoint in the middle of a load, and its files are used again.
    "max_wal_size": "4GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    # No replica and no archive, as the others have no binary log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "listen_addresses": "",
}
OF_TIMESCALEDB = {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}

# It refuses to run as root. Whoever is root here has folders that others may not enter: as nobody it enters them all the same.
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--securebits=+no_setuid_fixup",
             "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]

PLAIN = """
CREATE TABLE sensor_readings (
  id bigint NOT NULL, sensor_value double precision NOT NULL, sensor_type varchar(50) NOT NULL, id1 integer NOT NULL,
  id2 varchar(50) NOT NULL, ts timestamp NOT NULL, PRIMARY KEY (ts, id)) {divided};
CREATE INDEX by_ids_time ON sensor_readings (id1, id2, ts);
"""
SERIES = """
CREATE TABLE series (
  series_id integer NOT NULL PRIMARY KEY, id1 integer NOT NULL, id2 varchar(50) NOT NULL, sensor_type varchar(50) NOT NULL,
  first_seen timestamp NOT NULL DEFAULT now(), UNIQUE (id1, id2, sensor_type));
CREATE TABLE readings (
  ts timestamp NOT NULL, id bigint NOT NULL, series_id integer NOT NULL, sensor_value double precision NOT NULL,
  PRIMARY KEY (ts, id)) {divided};
CREATE INDEX by_series_time ON readings (series_id, ts);
CREATE VIEW sensor_readings AS
SELECT id, sensor_value, sensor_type, id1, id2, ts FROM readings LEFT JOIN series USING (series_id);
"""
COLUMNS = {"partitioned": "id, id1, id2, sensor_type, sensor_value, ts", "series": "id, series_id, sensor_value, ts"}

SIZE = """SELECT SUM(pg_total_relation_size(pg_class.oid)) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname IN ('public', '_timescaledb_internal')"""


class PostgreSQL:
    """A server that is running; use it with `with`."""

    def __init__(self, folder, timescaledb=False):
        self.folder, self.timescaledb = Path(folder), timescaledb
        self.settings = {**SETTINGS, **(OF_TIMESCALEDB if timescaledb else {})}
        self.user = AS_NOBODY if os.geteuid() == 0 else []
        self.warm = False

    def __enter__(self):
        if not (HOME / "bin/psql").exists():
            raise Unbalanced("there is no PostgreSQL here: scripts/install-postgresql.sh says why")
        if self.timescaledb and not (HOME / "timescaledb").exists():
            raise Unbalanced("there is no TimescaleDB here: scripts/install-postgresql.sh says why")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.user:
            shutil.chown(self.folder, "nobody", "nogroup")
        data = self.folder / "data"
        log = open(self.folder / "server.log", "wb")
        make = [*self.user, HOME / "bin/initdb", f"--pgdata={data}", "--username=root", "--auth=trust", "--no-locale",
                "--encoding=UTF8"]
        subprocess.run(make, check=True, stdout=log, stderr=log, cwd=self.folder)
        flags = [flag for key, value in self.settings.items() for flag in ("-c", f"{key}={value}")]
        run = [*self.user, HOME / "bin/postgres", "-D", data, "-k", self.folder, *flags]
        self.process = subprocess.Popen(run, stdout=log, stderr=log, cwd=self.folder)
        RUNNING.append(self)
        for _ in range(600):
            if self.process.poll() is not None:
                raise SystemExit(f"PostgreSQL did not start: {(self.folder / 'server.log').read_text()}")
            if self.sql("SELECT 1", "postgres", check=False) == "1":
                break
            time.sleep(0.1)
        else:
            raise SystemExit("PostgreSQL does not answer")
        self.version = self._version()
        return self

    def __exit__(self, *_):
        RUNNING.remove(self)
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _version(self):
        version = self.sql("SHOW server_version", "postgres").split()[0]
        if not self.timescaledb:
            return version
        found = self.sql("SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'", "postgres")
        # A package of the Apache licence has no compression.
        licence = self.sql(f"LOAD '$libdir/timescaledb-{found}'; SHOW timescaledb.license", "postgres")
        return f"{found} (licence {licence}) on PostgreSQL {version}"

    def command(self, database="bench"):
        return [HOME / "bin/psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
                f"--host={self.folder}", "--username=root", f"--dbname={database}"]

    def sql(self, text, database="bench", check=True):
        """Each statement by itself, as a database can neither be made nor dropped in a transaction."""
        done = subprocess.run([*self.command(database), "--file=-"], input=text, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"PostgreSQL: {text[:80]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def cpu(self):
        """Of the server and of all its processes, those that have ended too, seconds."""
        for _ in range(100):
            children = self._children()
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                seconds = sum(map(cpu_seconds, children)) + cpu_seconds(self.process.pid, with_ended=True)
                # One that ended meanwhile would be missing, or be there twice.
                if children == self._children():
                    return seconds
        raise Unbalanced("the processes of PostgreSQL come and go")

    def _children(self):
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def fresh_table(self, rows, layout):
        """An empty table in a database of its own, divided by the minutes of the readings."""
        self.drop()
        self.sql("CREATE DATABASE bench", "postgres")
        made = {"partitioned": PLAIN, "series": SERIES}[layout]
        if self.timescaledb:
            self.sql("SET client_min_messages = error; CREATE EXTENSION timescaledb; " + made.format(divided="") +
                     f"SELECT create_hypertable('{table(layout)}', by_range('ts', INTERVAL '1 minute'), "
                     "create_default_indexes => false)")
            return
        parts = [f"CREATE TABLE p{minute} PARTITION OF {table(layout)} FOR VALUES FROM ('{start}') TO ('{stop}');"
                 for minute, start, stop in minutes_of(rows)]
        self.sql(made.format(divided="PARTITION BY RANGE (ts)") + "".join(parts) +
                 f"CREATE TABLE p_rest PARTITION OF {table(layout)} DEFAULT")

    def drop(self):
        """And writes what is not written yet: what comes next does not pay for it."""
        self.sql("DROP DATABASE IF EXISTS bench WITH (FORCE); CHECKPOINT", "postgres")

    def warm_up(self, rows):
        """Once: files of its log are there from then on, as those of InnoDB are from the start."""
        if not self.warm:
            copied(self, rows, "partitioned")
            self.warm = True

    def copy(self, file, table_name, columns):
        """A client that is running."""
        return subprocess.Popen([*self.command(), f"--command=\\copy {table_name} ({columns}) FROM '{file}'"])

    def mib_per_million_rows(self, count):
        """Size of the table and its indexes, with that of the series where they have a table."""
        return float(self.sql(SIZE)) / 2**20 / (count / 1e6)


def copied(server, rows, layout):
    """COPY by one client for each file, in order of arrival: a sample."""
    server.fresh_table(rows, layout)
    files = rows.files()
    if layout == "series":
        files, series = rows.numbered_files()
        if server.copy(series, "series", "series_id, id1, id2, sensor_type").wait():
            raise Unbalanced("the series are refused")
    for file in files:
        file.read_bytes()  # into the page cache, as for the engines
    server.sql("CHECKPOINT")
    before = server.cpu()
    began = time.monotonic()
    clients = [server.copy(file, table(layout), COLUMNS[layout]) for file in files]
    if any([client.wait() for client in clients]):
        raise Unbalanced("a client failed")
    seconds = time.monotonic() - began
    database_cpu = server.cpu() - before
    stored = int(server.sql("SELECT COUNT(*) FROM sensor_readings WHERE id1 IS NOT NULL"))
    if stored != rows.count:
        raise Unbalanced(f"{stored} rows stored, {rows.count} sent")
    size = server.mib_per_million_rows(rows.count)
    server.drop()
    return rows.sized(rows_per_s=rows.count / seconds, database_cpu_us=database_cpu * 1e6 / rows.count,
                      mib_per_million_rows=size)
