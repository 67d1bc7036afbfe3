"""What it takes to ask for the newest readings again and again at full rate, from the database and from a cache: how long each
answer takes, and what it costs ingestion."""

import contextlib
import json
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path

from beside import SECONDS, compared, prepared_with, stream
from cases import expect
from process import RUNNING, Unbalanced, end
from rest import ask, connect, path, series_id

# Pairs of a question, and seconds between two: twenty dashboards that look every second, or five of them.
ASKED = {100: 0.05, 1_000: 0.2}
PROGRAMS = ("valkey-server", "redis-server")


class Cache:
    """A server without a disk, on a socket in the folder of the case; use it with `with`."""

    def __init__(self, folder):
        self.socket = Path(folder) / "cache.sock"
        program = next((found for found in map(shutil.which, PROGRAMS) if found), None)
        if program is None:
            raise SystemExit("there is neither valkey-server nor redis-server")
        self.command = [program, "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no"]

    def __enter__(self):
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        RUNNING.append(self)
        for _ in range(200):
            if self.socket.exists():
                return self
            time.sleep(0.05)
        raise SystemExit("the cache does not start")

    def __exit__(self, *_):
        RUNNING.remove(self)
        end(self.process)


class Asking(threading.Thread):
    """Asks for the newest readings of some pairs until it is told to stop."""

    def __init__(self, service, series, pairs):
        super().__init__(daemon=True)
        self.service, self.pause_s, self.stopped = service, ASKED[pairs], threading.Event()
        chosen = [series_id(number * 997 % series) for number in range(pairs)]
        self.pairs = list(dict.fromkeys(chosen))
        self.path = path("latest", id1=",".join(str(one) for one, _ in self.pairs),
                         id2=",".join(two for _, two in self.pairs))
        self.took_ms, self.hits, self.failed = [], 0, None

    def run(self):
        connection = connect(self.service)
        while not self.stopped.wait(self.pause_s):
            try:
                took, body, headers = ask(connection, self.path, with_headers=True)
            except (Unbalanced, OSError) as failed:
                self.failed = failed
                return
            if len(json.loads(body)["latest"]) != len(self.pairs):
                self.failed = Unbalanced(f"{self.path[:80]}: an entry is missing")
                return
            self.took_ms.append(took)
            self.hits += headers.get("cache-status") == "sluicegate; hit"

    def figures(self):
        self.stopped.set()
        self.join()
        if self.failed:
            raise self.failed
        ordered = sorted(self.took_ms)
        return {"p50_ms": statistics.median(ordered), "p99_ms": ordered[int(len(ordered) * 0.99)],
                "hits": self.hits / len(ordered)}


def check(engine, schema, service, series):
    """What is answered once nothing comes any more is what the table holds."""
    time.sleep(1.5)
    connection = connect(service)
    for number in range(0, series, series // 10):
        id1, id2 = series_id(number)
        found = json.loads(ask(connection, path("latest", id1=id1, id2=id2))[1])["latest"][0]["reading"]
        held = engine.sql(f"SELECT id FROM sensor_readings WHERE id1 = {id1} AND id2 = '{id2}' ORDER BY ts DESC, id DESC LIMIT 1",
                          schema)
        if str(found["id"]) != held:
            raise Unbalanced(f"the newest reading of {id1} {id2} is {held}, and {found['id']} was answered")


def measure(engine, rows, folder, quick, pairs, cached):
    """A stream alone, beside the questions, and alone again."""
    seconds = SECONDS["quick" if quick else "full"]
    with contextlib.ExitStack() as stack:
        settings = {}
        if cached:
            settings["cache_url"] = f"unix://{stack.enter_context(Cache(folder)).socket}"
        service, schema = stack.enter_context(prepared_with(engine, rows, folder, **settings))
        stored = [stream(service, rows, seconds, 1)]
        asking = Asking(service, rows.series, pairs)
        asking.start()
        stored.append(stream(service, rows, seconds, 2))
        figures = asking.figures()
        stored.append(stream(service, rows, seconds, 3))
        check(engine, schema, service, rows.series)
        expect(engine, schema, sum(count for _, count in stored) + rows.with_count(1_000_000).count)
    (before, _), (beside, count), (after, _) = stored
    names = {"p50_ms": "newest_p50_ms", "p99_ms": "newest_p99_ms", "hits": "newest_hits"}
    return compared(rows, count, before, beside, after, **{names[name]: value for name, value in figures.items()})
