"""What those who watch readings as they come cost at full rate: 1,000 of them, each of one series with an event a second."""

import asyncio
import contextlib
import resource
import threading
import time
from urllib.parse import urlsplit

from beside import SECONDS, alone_again, compared, prepared_with, stream
from cases import expect
from process import Unbalanced
from rest import path, series_id

WATCHERS = {"quick": 100, "full": 1_000}
INTERVAL_MS = 1_000
# Watchers may have half of the connections.
CONNECTIONS = 2 * WATCHERS["full"] + 100
BEGUN_S = 60
EVENT = b"event: readings"
# Files of this process beside the connections.
OTHER_FILES = 256


class Watcher(asyncio.Protocol):
    """One connection, whose events are counted and not kept."""

    def __init__(self, host, series):
        id1, id2 = series
        asked = path("ids", id1=id1, id2=id2).replace("/sensor/ids", "/live")
        self.request = f"GET {asked}&interval_ms={INTERVAL_MS} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.events, self.end, self.lost, self.transport = 0, b"", False, None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        # What may be the beginning of the next one.
        seen = self.end + data
        self.events += seen.count(EVENT)
        self.end = seen[-len(EVENT) + 1:]

    def connection_lost(self, _):
        self.lost = True


class Watching(threading.Thread):
    """All of them, until they are told to stop."""

    def __init__(self, service, series, watchers):
        super().__init__(daemon=True)
        at = urlsplit(service.rest)
        self.host, self.port = at.hostname, at.port
        self.watchers = [Watcher(self.host, series_id(number * 97 % series)) for number in range(watchers)]
        self.loop = asyncio.new_event_loop()
        self.failed = None

    def run(self):
        try:
            self.loop.run_until_complete(self.connect())
            self.loop.run_forever()
        except OSError as failed:
            self.failed = failed

    async def connect(self):
        for watcher in self.watchers:
            await self.loop.create_connection(lambda watcher=watcher: watcher, self.host, self.port)

    def begun(self):
        """Waits until each has its first event, which has what is in the table."""
        until = time.monotonic() + BEGUN_S
        while any(watcher.events == 0 for watcher in self.watchers):
            if self.failed or time.monotonic() > until:
                missing = sum(watcher.events == 0 for watcher in self.watchers)
                raise Unbalanced(f"{missing} watchers have heard nothing: {self.failed}")
            time.sleep(0.1)

    def heard(self):
        return sum(watcher.events for watcher in self.watchers)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()
        lost = sum(watcher.lost for watcher in self.watchers)
        for watcher in self.watchers:
            watcher.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        if lost:
            raise Unbalanced(f"{lost} watchers lost their connection")


@contextlib.contextmanager
def files(count):
    """This process may have so many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def measure(engine, rows, folder, quick):
    """A stream alone, beside those who watch, and alone again."""
    size = "quick" if quick else "full"
    seconds, watchers = SECONDS[size], WATCHERS[size]
    with files(CONNECTIONS + OTHER_FILES), prepared_with(engine, rows, folder, rest_max_connections=CONNECTIONS) as prepared:
        service, schema = prepared
        before, first = stream(service, rows, seconds, 1)
        resident = service.resident()
        watching = Watching(service, rows.series, watchers)
        watching.start()
        watching.begun()
        begun, heard = time.monotonic(), watching.heard()
        beside, second = stream(service, rows, seconds, 2)
        events_per_s = (watching.heard() - heard) / (time.monotonic() - begun)
        growth = service.resident() - resident
        watching.stop()
        alone_again(engine)
        after, third = stream(service, rows, seconds, 3)
        expect(engine, schema, first + second + third + rows.with_count(1_000_000).count)
    return compared(rows, second, before, beside, after, live_growth_mib=growth,
                    live_events_per_s=events_per_s / watchers)
