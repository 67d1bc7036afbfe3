"""What management costs ingestion: the rate of a stream beside a long delete or a slow reader, against the mean of the
rates alone right before and right after, because a table takes readings more slowly as it grows."""

import contextlib
import json
import threading
import time

from cases import expect
from process import Service, Unbalanced, sluicegen
from rest import START_S, at, connect, path

DELETED = 1_000_000
DELETED_SPAN_S = 6  # event time of a million readings of a run at full rate, and some more
SECONDS = {"quick": 6, "full": 10}
SLOW_BYTES_PER_S = 64 << 10


def stream(service, rows, seconds, minute):
    """The rate of a run that begins at a minute of event time of its own, for which there is a partition already."""
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START_S + 60 * minute))
    report = sluicegen("run", "--target", service.grpc, "--mode", "stream", "--duration", f"{seconds}s", "--series",
                       rows.series, "--connections", rows.parts, "--seed", rows.seed + minute, "--start-time", start,
                       "--json")
    if report["committed"] != report["sent"]:
        raise Unbalanced(f"sent {report['sent']}, committed {report['committed']}")
    return report["rows_per_s"], report["committed"]


class Delete(threading.Thread):
    """Deletes the first million readings, and says how long that took."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.seconds, self.deleted = service, None, None

    def run(self):
        began = time.monotonic()
        connection = connect(self.service)
        connection.request("DELETE", path("delete/time", from_time=at(0), to_time=at(DELETED_SPAN_S)))
        answer = json.loads(connection.getresponse().read())
        self.deleted, self.seconds = answer.get("deleted_count"), time.monotonic() - began


class SlowExport(threading.Thread):
    """Reads an export of everything, slowly, until it is told to stop."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.read, self.stopped = service, 0, threading.Event()

    def run(self):
        connection = connect(self.service)
        # No more than it reads: a large receive buffer would take the export in at once.
        export = path("time", from_time=at(0), to_time=at(86_400), format="ndjson")
        connection.request("GET", export)
        answer = connection.getresponse()
        while not self.stopped.wait(0.25):
            chunk = answer.read(SLOW_BYTES_PER_S // 4)
            if not chunk:
                return
            self.read += len(chunk)
        connection.close()


def prepared(engine, rows, folder):
    """A service on a fresh table with the readings that are going to be deleted or exported."""
    return prepared_with(engine, rows, folder)


@contextlib.contextmanager
def prepared_with(engine, rows, folder, **settings):
    """The same with these settings."""
    schema = engine.fresh_schema("partitioned")
    with Service(engine, schema, folder, **settings) as service:
        sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *rows.with_count(DELETED).flags())
        expect(engine, schema, DELETED)
        engine.ready()
        yield service, schema


def alone_again(engine):
    """What was done beside the stream is not paid for by the one after it."""
    engine.purge()
    engine.ready()


def compared(rows, count, before, beside, after, **sample):
    alone = (before + after) / 2
    return rows.with_count(count).sized(rows_per_s=beside, before_rows_per_s=before, after_rows_per_s=after,
                                        alone_rows_per_s=alone, kept=beside / alone, **sample)


def delete(engine, rows, folder, quick):
    seconds = SECONDS["quick" if quick else "full"]
    with prepared(engine, rows, folder) as (service, schema):
        before, first = stream(service, rows, seconds, 1)
        deleting = Delete(service)
        deleting.start()
        time.sleep(0.3)
        beside, second = stream(service, rows, seconds, 2)
        if not deleting.is_alive():
            raise Unbalanced(f"the delete was over before the stream ended, {deleting.deleted} deleted")
        deleting.join()
        if deleting.deleted != DELETED:
            raise Unbalanced(f"{deleting.deleted} of {DELETED} deleted")
        alone_again(engine)
        after, third = stream(service, rows, seconds, 3)
        expect(engine, schema, first + second + third)
    return compared(rows, second, before, beside, after, delete_s=deleting.seconds)


def slow_reader(engine, rows, folder, quick):
    seconds = SECONDS["quick" if quick else "full"]
    with prepared(engine, rows, folder) as (service, schema):
        before, first = stream(service, rows, seconds, 1)
        resident = service.resident()
        reading = SlowExport(service)
        reading.start()
        beside, second = stream(service, rows, seconds, 2)
        still_reading = reading.is_alive() and reading.read > 0
        growth = service.resident() - resident
        reading.stopped.set()
        reading.join()
        alone_again(engine)
        after, third = stream(service, rows, seconds, 3)
        if not still_reading:
            raise Unbalanced(f"the export was over after {reading.read} bytes, before the stream ended")
        expect(engine, schema, DELETED + first + second + third)
    return compared(rows, second, before, beside, after, growth_mib=growth)
