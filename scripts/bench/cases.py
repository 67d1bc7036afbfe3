"""The ways of storing the same readings. Each returns a sample: rows per second, and what it cost."""

import subprocess
import time
from pathlib import Path

from process import Service, cpu_seconds, sluicegen

COLUMNS = {
    "partitioned": "(id, id1, id2, sensor_type, sensor_value, ts)",
    "hashed": "(id, id1, id2, sensor_type, sensor_value, ts)",
    # The database counts.
    "seed": "(@id, id1, id2, sensor_type, sensor_value, ts)",
}


class Unbalanced(Exception):
    """The books of a case do not balance: it has no figure."""


class Rows:
    """The readings that every case stores: made once, written to files once."""

    def __init__(self, count, series, folder, parts=2, start_time="2026-01-01T00:00:00Z", seed=1):
        self.count, self.series, self.parts, self.start_time, self.seed = count, series, parts, start_time, seed
        self.folder = Path(folder) / f"rows-{count}-{series}-{parts}"

    def flags(self, count=None):
        return ["--count", count or self.count, "--series", self.series, "--seed", self.seed, "--start-time",
                self.start_time, "--connections", self.parts]

    def files(self):
        if not self.folder.exists():
            sluicegen("export", "--out", self.folder, *self.flags())
        return [self.folder / f"readings-{part}.tsv" for part in range(self.parts)]


def expect(engine, schema, count):
    stored = int(engine.sql("SELECT COUNT(*) FROM sensor_readings", schema))
    if stored != count:
        raise Unbalanced(f"{stored} rows stored, {count} sent")


def file_load(engine, rows, layout="partitioned"):
    """One client for each file, LOAD DATA LOCAL INFILE, in order of arrival."""
    schema = engine.fresh_schema(layout)
    files = rows.files()
    for file in files:
        file.read_bytes()  # into the page cache: the baseline does not pay for the disk
    engine.ready()
    before = cpu_seconds(engine.process.pid)
    began = time.monotonic()
    clients = [
        subprocess.Popen([*engine.command(schema), "-e",
                          f"SET time_zone = '+00:00'; LOAD DATA LOCAL INFILE '{file}' INTO TABLE sensor_readings "
                          f"CHARACTER SET utf8mb4 {COLUMNS[layout]}"])
        for file in files
    ]
    if any(client.wait() for client in clients):
        raise Unbalanced("a client failed")
    seconds = time.monotonic() - began
    database_cpu = cpu_seconds(engine.process.pid) - before
    expect(engine, schema, rows.count)
    return {"rows_per_s": rows.count / seconds, "database_cpu_us": database_cpu * 1e6 / rows.count}


def through_service(engine, rows, folder, mode="stream", encoding="columns", layout="partitioned", count=None,
                    flags=(), **settings):
    """The service and the generator beside the database."""
    count = count or rows.count
    schema = engine.fresh_schema(layout)
    with Service(engine, schema, folder, layout, **settings) as service:
        engine.ready()
        before = cpu_seconds(engine.process.pid), service.cpu()
        report = sluicegen("run", "--target", service.grpc, "--mode", mode, "--encoding", encoding, "--json",
                           *rows.flags(count), *flags)
        after = cpu_seconds(engine.process.pid), service.cpu()
        if report["committed"] != count or report["sent"] != count:
            raise Unbalanced(f"sent {report['sent']}, committed {report['committed']} of {count}")
        expect(engine, schema, count)
        return {
            "rows_per_s": report["rows_per_s"],
            "database_cpu_us": (after[0] - before[0]) * 1e6 / count,
            "service_cpu_us": (after[1] - before[1]) * 1e6 / count,
            "generator_cpu_us": report["cpu_us_per_reading"],
            "service_peak_rss_mib": service.peak(),
            "ack_ms": report["ack_ms"],
        }
