"""The ways of storing the same readings. Each returns a sample: rows per second, and what it cost."""

import calendar
import json
import math
import subprocess
import time
from pathlib import Path

from builds import PROGRAMS
from process import Service, Unbalanced, cpu_seconds, sluicegen, voluntary_switches

COLUMNS = {
    "partitioned": "(id, id1, id2, sensor_type, sensor_value, ts)",
    "hashed": "(id, id1, id2, sensor_type, sensor_value, ts)",
    # The database counts.
    "seed": "(@id, id1, id2, sensor_type, sensor_value, ts)",
    "series": "(id, series_id, sensor_value, ts)",
}


def table(layout):
    """What holds the readings themselves."""
    return "readings" if layout == "series" else "sensor_readings"


# Event time between readings of a generator that is not told otherwise: 200,000 a second, live.
LIVE_STEP_US = 5
# What producers hand over as fast as they can is a backlog: each of the series had a reading in so many seconds.
BACKLOG_INTERVAL_S = 6

TIME = "%Y-%m-%dT%H:%M:%SZ"


class Rows:
    """The readings that every case stores: made once, written to files once."""

    def __init__(self, count, series, folder, parts=2, start_time="2026-01-01T00:00:00Z", seed=1, spacing=()):
        self.count, self.series, self.parts, self.start_time, self.seed = count, series, parts, start_time, seed
        self.spacing = spacing
        self.parent = Path(folder)
        name = "-".join(map(str, ["rows", count, series, parts, start_time.replace(":", ""), *spacing[1:]]))
        self.folder = self.parent / name

    def _with(self, **changes):
        values = {"count": self.count, "series": self.series, "parts": self.parts, "start_time": self.start_time,
                  "seed": self.seed, "spacing": self.spacing, **changes}
        return Rows(folder=self.parent, **values)

    def in_parts(self, parts):
        return self._with(parts=parts)

    def with_series(self, series):
        return self._with(series=series)

    def with_count(self, count):
        return self._with(count=count)

    def starting(self, start_time):
        return self._with(start_time=start_time)

    def once_before(self):
        """Each of the series once, right before: the service has made partitions for what comes then."""
        before = self.with_count(self.series)
        began = calendar.timegm(time.strptime(self.start_time, TIME)) - math.ceil(before.span_s())
        return before.starting(time.strftime(TIME, time.gmtime(began)))

    def every(self, interval_s):
        """Each series has a reading in that interval, and the readings of all follow each other evenly."""
        return self._with(spacing=("--time-step", f"{interval_s * 1e6 / self.series:g}us"))

    def sized(self, **sample):
        return {"readings": self.count, "series": self.series, **sample}

    def shuffled(self, within):
        """They come in any order within so much of their time."""
        return self._with(spacing=(*self.spacing, "--shuffle-within", within))

    def span_s(self):
        """Event time from the first reading to the last, seconds."""
        step_us = float(self.spacing[1].removesuffix("us")) if self.spacing else LIVE_STEP_US
        return self.count * step_us / 1e6

    def flags(self, count=None):
        return ["--count", count or self.count, "--series", self.series, "--seed", self.seed, "--start-time",
                self.start_time, "--connections", self.parts, *self.spacing]

    def files(self):
        if not self.folder.exists():
            sluicegen("export", "--out", self.folder, *self.flags())
        return [self.folder / f"readings-{part}.tsv" for part in range(self.parts)]

    def numbered_files(self):
        """The same with the numbers of series instead of names, and the file of the series."""
        series, files = self.folder / "series.tsv", [self.folder / f"numbered-{part}.tsv" for part in range(self.parts)]
        if not series.exists():
            numbers = {}
            for source, target in zip(self.files(), files):
                with open(source, "rb") as lines, open(target, "wb") as out:
                    for line in lines:
                        number, id1, id2, sensor_type, rest = line.split(b"\t", 4)
                        at = numbers.setdefault((id1, id2, sensor_type), len(numbers) + 1)
                        out.write(b"%b\t%d\t%b" % (number, at, rest))
            with open(series, "wb") as out:
                for (id1, id2, sensor_type), at in numbers.items():
                    out.write(b"%d\t%b\t%b\t%b\n" % (at, id1, id2, sensor_type))
        return files, series


def expect(engine, schema, count):
    stored = int(engine.sql("SELECT COUNT(*) FROM sensor_readings WHERE id1 IS NOT NULL", schema))
    if stored != count:
        raise Unbalanced(f"{stored} rows stored, {count} sent")


def minutes_of(rows):
    """A number, the beginning and the end of each minute of the readings, and of the one before."""
    first = calendar.timegm(time.strptime(rows.start_time, TIME)) // 60
    at = lambda minute: time.strftime("%Y-%m-%d %H:%M:00", time.gmtime(minute * 60))
    return [(minute, at(minute - 1), at(minute)) for minute in range(first, first + int(rows.span_s() // 60) + 2)]


def fresh_table(engine, rows, layout):
    """An empty table with a partition for each minute of the readings, as the service would make them."""
    schema = engine.fresh_schema(layout)
    if layout != "seed":
        pieces = [f"PARTITION p{minute} VALUES LESS THAN ('{end}')" for minute, _, end in minutes_of(rows)]
        engine.sql(f"ALTER TABLE {table(layout)} REORGANIZE PARTITION p_rest INTO ({', '.join(pieces)}, "
                   "PARTITION p_rest VALUES LESS THAN (MAXVALUE))", schema)
    return schema


def file_load(engine, rows, layout="partitioned", fresh=True):
    """One client for each file, LOAD DATA LOCAL INFILE, in order of arrival."""
    schema = fresh_table(engine, rows, layout) if fresh else "bench"
    files = rows.files()
    if layout == "series":
        files, series = rows.numbered_files()
        engine.sql(f"LOAD DATA LOCAL INFILE '{series}' INTO TABLE series CHARACTER SET utf8mb4 "
                   "(series_id, id1, id2, sensor_type) SET first_seen = UTC_TIMESTAMP(6)", schema)
    for file in files:
        file.read_bytes()  # into the page cache: the baseline does not pay for the disk
    if fresh:
        engine.ready()
    before = cpu_seconds(engine.process.pid)
    began = time.monotonic()
    clients = [
        subprocess.Popen([*engine.command(schema), "-e",
                          # The clients wait for each other where an AUTO_INCREMENT lock is held for a whole statement.
                          "SET time_zone = '+00:00', innodb_lock_wait_timeout = 3600; "
                          f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table(layout)} "
                          f"CHARACTER SET utf8mb4 {COLUMNS[layout]}"])
        for file in files
    ]
    if any(client.wait() for client in clients):
        raise Unbalanced("a client failed")
    seconds = time.monotonic() - began
    database_cpu = cpu_seconds(engine.process.pid) - before
    if fresh:
        expect(engine, schema, rows.count)
    return rows.sized(rows_per_s=rows.count / seconds, database_cpu_us=database_cpu * 1e6 / rows.count)


def import_tool(engine, rows, layout="partitioned", threads=2):
    """The engine's own import program, one thread for each file."""
    schema = fresh_table(engine, rows, layout)
    # It takes the table's name from the file's: a folder of links, one for each file.
    folder = rows.folder / "import"
    links = []
    for number, file in enumerate(rows.files()):
        link = folder / str(number) / "sensor_readings.tsv"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        links.append(str(link))
    engine.ready()
    before = cpu_seconds(engine.process.pid)
    began = time.monotonic()
    columns = COLUMNS[layout].strip("()").replace(" ", "")
    command = [str(engine.importer), "--no-defaults", f"--socket={engine.socket}", "-uroot", "--local", "--silent",
               "--default-character-set=utf8mb4", f"--use-threads={threads}", f"--columns={columns}", schema, *links]
    if subprocess.run(command).returncode != 0:
        raise Unbalanced("the import program failed")
    seconds = time.monotonic() - began
    database_cpu = cpu_seconds(engine.process.pid) - before
    expect(engine, schema, rows.count)
    return rows.sized(rows_per_s=rows.count / seconds, database_cpu_us=database_cpu * 1e6 / rows.count)


def insert(engine, rows, form, connections, count, layout="seed"):
    """INSERT statements: one reading each, autocommitted, or 1,000 each."""
    schema = engine.fresh_schema(layout)
    engine.ready()
    command = [PROGRAMS / "examples/insert_baseline", engine.url(schema), rows.files()[0], form,
               str(connections), str(count)]
    before = cpu_seconds(engine.process.pid)
    done = subprocess.run(command, capture_output=True, text=True)
    database_cpu = cpu_seconds(engine.process.pid) - before
    if done.returncode != 0:
        raise Unbalanced(done.stderr.strip())
    expect(engine, schema, count)
    return rows.with_count(count).sized(rows_per_s=count / json.loads(done.stdout)["seconds"],
                                        database_cpu_us=database_cpu * 1e6 / count)


def divide(engine, schema, layout, subpartitions):
    """A table that is empty, into another number of subpartitions than it is made with."""
    engine.sql(f"ALTER TABLE {table(layout)} PARTITION BY RANGE COLUMNS (ts) SUBPARTITION BY HASH (id) "
               f"SUBPARTITIONS {subpartitions} (PARTITION p_rest VALUES LESS THAN (MAXVALUE))", schema)


def through_service(engine, rows, folder, mode="stream", encoding="columns", layout="partitioned", count=None,
                    flags=(), there_already=(), restarted=False, subpartitions=2, **settings):
    """The service and the generator beside the database, into an empty table or onto the rows that are there already, which
    a service that was restarted since does not know of."""
    count = count or rows.count
    schema = engine.fresh_schema(layout)
    if subpartitions != 2:
        divide(engine, schema, layout, subpartitions)
    with Service(engine, schema, folder, layout, **settings) as service:
        for older in there_already:
            sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *older.flags())
        if restarted:
            service.restart()
        engine.ready()
        before = cpu_seconds(engine.process.pid), service.cpu()
        waits = voluntary_switches(engine.process.pid)
        report = sluicegen("run", "--target", service.grpc, "--mode", mode, "--encoding", encoding, "--json",
                           *rows.flags(count), *flags)
        after = cpu_seconds(engine.process.pid), service.cpu()
        waits = voluntary_switches(engine.process.pid) - waits
        if report["committed"] != count or report["sent"] != count:
            raise Unbalanced(f"sent {report['sent']}, committed {report['committed']} of {count}")
        stored = count + sum(older.count for older in there_already)
        service.expect_books(count if restarted else stored)
        expect(engine, schema, stored)
        return rows.with_count(count).sized(
            rows_per_s=report["rows_per_s"],
            database_cpu_us=(after[0] - before[0]) * 1e6 / count,
            database_waits_per_1000=waits * 1e3 / count,
            service_cpu_us=(after[1] - before[1]) * 1e6 / count,
            generator_cpu_us=report["cpu_us_per_reading"],
            service_peak_rss_mib=service.peak(),
            ack_ms=report["ack_ms"],
        )


def mib_per_million_rows(engine, layout="partitioned"):
    """Size on disk of the table and its indexes, with that of the series where they have a table."""
    count = int(engine.sql(f"SELECT COUNT(*) FROM {table(layout)}", "bench"))
    spaces = "INNODB_TABLESPACES" if engine.name == "mysql" else "INNODB_SYS_TABLESPACES"
    names = f"NAME LIKE 'bench/{table(layout)}%'" + (" OR NAME = 'bench/series'" if layout == "series" else "")
    text = engine.sql(f"SELECT SUM(FILE_SIZE) FROM information_schema.{spaces} WHERE {names}")
    return float(text) / 2**20 / (count / 1e6)


def index_mib_per_million_rows(engine, count):
    """Size of the secondary indexes, by the statistics that the engine keeps of them."""
    engine.sql("ANALYZE TABLE sensor_readings", "bench")
    text = engine.sql("SELECT SUM(stat_value * @@GLOBAL.innodb_page_size) FROM mysql.innodb_index_stats WHERE "
                      "database_name = 'bench' AND table_name LIKE 'sensor\\_readings%' AND stat_name = 'size' AND "
                      "index_name <> 'PRIMARY'")
    return float(text) / 2**20 / (count / 1e6)


class Growth:
    """A table that grows in steps.

    With 100,000 series, 30,000,000 readings are the backlog of half an hour, which producers hand over as fast as they
    can; its last readings are of now.
    """

    def __init__(self, engine, rows, steps):
        self.engine, self.steps = engine, steps
        self.rows = rows.every(BACKLOG_INTERVAL_S)
        self.first_s = int(time.time() - steps * self.rows.span_s())

    def rows_of(self, number):
        return self.rows.starting(time.strftime(TIME, time.gmtime(self.first_s + int((number - 1) * self.rows.span_s()))))

    def count_at_the_end(self, number, before=0):
        """To count reads the whole table into the buffer pool, which the next step would pay for."""
        if number == self.steps:
            expect(self.engine, "bench", self.rows.count * self.steps + before)


def growth_seed_steps(engine, rows, steps):
    """Steps of files into `seed`."""
    growth = Growth(engine, rows, steps)

    def seed(number):
        def measure():
            if number == 1:
                engine.fresh_schema("seed")
                engine.ready()
            step = growth.rows_of(number)
            sample = file_load(engine, step, "seed", fresh=False)
            for file in step.files():
                file.unlink()
            step.folder.rmdir()
            growth.count_at_the_end(number)
            return sample
        return measure

    return {f"growth-seed-{number}": seed(number) for number in range(1, steps + 1)}


def growth_steps(engine, rows, folder, steps):
    """Steps through the service into `partitioned`, then into `series`, whose series all have a reading before the first step."""
    last = {}
    growth = Growth(engine, rows, steps)

    def service(layout, number):
        before = rows.series if layout == "series" else 0

        def measure():
            if number == 1:
                engine.fresh_schema(layout)
                last["service"] = Service(engine, "bench", folder, layout).__enter__()
            if "service" not in last:
                raise Unbalanced("a step before this one failed")
            try:
                if number == 1:
                    if before:
                        one_step(last["service"], growth.rows_of(1).once_before())
                    engine.ready()
                sample = one_step(last["service"], growth.rows_of(number))
                if number == steps:
                    last["service"].expect_books(rows.count * steps + before)
            except BaseException:
                last.pop("service").__exit__()
                raise
            if number == steps:
                last.pop("service").__exit__()
            growth.count_at_the_end(number, before)
            return sample
        return measure

    def one_step(service, step):
        before = cpu_seconds(engine.process.pid)
        report = sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *step.flags())
        database_cpu = cpu_seconds(engine.process.pid) - before
        if report["committed"] != step.count:
            raise Unbalanced(f"committed {report['committed']} of {step.count}")
        return step.sized(rows_per_s=report["rows_per_s"], database_cpu_us=database_cpu * 1e6 / step.count)

    result = {}
    for kind, layout in (("growth", "partitioned"), ("growth-series", "series")):
        for number in range(1, steps + 1):
            result[f"{kind}-{number}"] = service(layout, number)
    return result
