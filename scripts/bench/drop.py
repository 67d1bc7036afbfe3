"""How long streaming stops while retention drops a large partition."""

import json
import re
import threading
import time
import urllib.request

from process import Service, Unbalanced, sluicegen

# Commits come often enough to see a stop between them.
BATCH_ROWS = 50_000
STREAM_S = 40
# What the service takes to be in a large partition, at least, where its engine has no estimate yet.
COUNTED_ROWS = 500_000
# So much time around the drop belongs to it.
AROUND_S = 0.5
# From the start of the stream until the partition has outlived the retention.
WAIT_S = 12


def large(rows):
    return min(rows / 2, COUNTED_ROWS)


class Watch(threading.Thread):
    """Notes when commits happen, and when the partition is gone."""

    def __init__(self, service, rows):
        super().__init__(daemon=True)
        self.service, self.rows, self.stopped = service, rows, threading.Event()
        self.commits, self.dropped_at, self.seen = [], None, None

    def run(self):
        while not self.stopped.wait(0.01):
            with urllib.request.urlopen(self.service.rest + "/readyz", timeout=30) as answer:
                readiness = json.load(answer)
            now = time.monotonic()
            committed = readiness["books"]["committed"]
            if committed != self.seen:
                self.commits.append(now)
                self.seen = committed
            # Empty partitions before it may go earlier.
            if self.dropped_at is None and readiness["partitions"]["dropped_rows"] >= large(self.rows):
                self.dropped_at = now

    def gaps(self, took_s):
        """The longest time without a commit around the drop, and at any other time, milliseconds."""
        around, otherwise = 0.0, 0.0
        began, ended = self.dropped_at - took_s - AROUND_S, self.dropped_at + AROUND_S
        # The first commits belong to the start.
        for one, next_one in zip(self.commits[2:], self.commits[3:]):
            gap = (next_one - one) * 1000
            if next_one >= began and one <= ended:
                around = max(around, gap)
            else:
                otherwise = max(otherwise, gap)
        return around, otherwise


def measure(engine, rows, folder):
    schema = engine.fresh_schema("partitioned")
    # Two hours ago, at ten past: readings of the generator take a few seconds of their own time.
    hour = int(time.time()) // 3600 * 3600 - 7200
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(hour + 600))
    with Service(engine, schema, folder, partitions_enabled="false") as service:
        sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *rows.starting(start).flags())
    # Into a partition of their own, which the manager makes before the service is ready.
    with Service(engine, schema, folder, ready_s=300, partitions_width="1h"):
        pass
    end = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(hour + 3600))
    held = engine.sql(f"SELECT COUNT(*) FROM sensor_readings WHERE ts < '{end}'", schema)
    if int(held) != rows.count:
        raise Unbalanced(f"{held} of {rows.count} readings to drop")
    engine.ready()
    retention = f"{int(time.time()) - hour - 3600 + WAIT_S}s"
    with Service(engine, schema, folder, partitions_width="1h", partitions_retention=retention,
                 partitions_interval_s=2, ingest_max_batch_rows=BATCH_ROWS) as service:
        watch = Watch(service, rows.count)
        watch.start()
        report = sluicegen("run", "--target", service.grpc, "--mode", "stream", "--duration", f"{STREAM_S}s", "--series",
                           rows.series, "--connections", rows.parts, "--json")
        watch.stopped.set()
        watch.join()
        log = (service.folder / "service.log").read_text()
    if watch.dropped_at is None or watch.commits[-1] < watch.dropped_at + AROUND_S:
        raise Unbalanced("nothing was dropped while the stream ran")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    drops = re.findall(r"partitions dropped .*rows_about=(\d+) .*took_ms=(\d+)", plain)
    took_ms = next((int(took) for about, took in drops if int(about) >= large(rows.count)), None)
    if took_ms is None:
        raise Unbalanced("the service did not say how long the drop took")
    around, otherwise = watch.gaps(took_ms / 1000)
    left = int(engine.sql("SELECT COUNT(*) FROM sensor_readings", schema))
    if left != report["committed"] or report["committed"] != report["sent"]:
        raise Unbalanced(f"{left} rows left, {report['committed']} committed, {report['sent']} sent")
    return rows.sized(stop_ms=around, otherwise_ms=otherwise, took_ms=float(took_ms), rows_per_s=report["rows_per_s"])
