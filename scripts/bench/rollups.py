"""What rollups cost ingestion, how far behind they are, and what they win: the curve of a year."""

import json
import statistics
import threading
import time
import urllib.request

from beside import DELETED
from cases import expect
from process import Service, Unbalanced, sluicegen
from rest import START_S, ask, at, connect, path, series_id

LEVELS = "1m:30d,1h:5y"
SECONDS = {"quick": 10, "full": 60}
# One series has a reading twice a minute for a year, beside a hundred others that have one every two minutes or so.
YEAR_S = 365 * 86_400
OF_ONE, OTHERS, OF_OTHERS = 1_000_000, 100, 30_000_000
SIZES = {"quick": 20, "full": 1}
CHART_LEVELS = "1h:none,1d:none"
QUESTIONS = 20


class Lag(threading.Thread):
    """The furthest that the rollups were ever behind, seconds."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.most, self.stopped = service, 0.0, threading.Event()

    def run(self):
        while not self.stopped.wait(1):
            self.most = max(self.most, figure(self.service, "sluicegate_rollup_lag_seconds"))

    def end(self):
        self.stopped.set()
        self.join()
        return self.most


def figure(service, name):
    with urllib.request.urlopen(f"{service.rest}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def settled(engine, schema, patience_s):
    """Waits until nothing is to be merged or made anew, and returns how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < patience_s:
        left = engine.sql("SELECT (SELECT COUNT(*) FROM rollup_batches) + (SELECT COUNT(*) FROM rollup_dirty)", schema)
        if int(left) == 0:
            return time.monotonic() - began
        time.sleep(0.2)
    raise Unbalanced(f"the rollups are not made after {patience_s} s")


def exact(engine, schema):
    """The rollups hold as many readings as there are."""
    stored, *rolled = (int(engine.sql(sql, schema)) for sql in (
        "SELECT COUNT(*) FROM readings", *(f"SELECT SUM(readings) FROM rollups WHERE every_s = {every}" for every in (60, 3600))))
    if any(count != stored for count in rolled):
        raise Unbalanced(f"{stored} readings stored, {rolled} in the rollups")


def run(service, rows, seconds, minute, rate=None):
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START_S + 60 * minute))
    governed = ["--rate", int(rate)] if rate else []
    report = sluicegen("run", "--target", service.grpc, "--mode", "stream", "--duration", f"{seconds}s", "--series", rows.series,
                       "--connections", rows.parts, "--seed", rows.seed + minute, "--start-time", start, *governed, "--json")
    if report["committed"] != report["sent"]:
        raise Unbalanced(f"sent {report['sent']}, committed {report['committed']}")
    return report["rows_per_s"], report["committed"]


def measure(engine, rows, folder, quick, levels, half):
    """A stream at full rate, or at half of what a short one before it reached."""
    seconds = SECONDS["quick" if quick else "full"]
    schema = engine.fresh_schema("series")
    with Service(engine, schema, folder, "series", **({"rollups": levels} if levels else {})) as service:
        sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *rows.with_count(DELETED).flags())
        expect(engine, schema, DELETED)
        engine.ready()
        count, rate = DELETED, None
        if half:
            full, first = run(service, rows, 10, 1)
            count, rate = count + first, full / 2
            settled(engine, schema, 120)
        lag = Lag(service)
        if levels:
            lag.start()
        began = time.monotonic()
        stored, last = run(service, rows, seconds, 3, rate)
        took = time.monotonic() - began
        sample = {}
        if levels:
            drain = settled(engine, schema, 20 * seconds)
            sample = {"rollup_lag_s": lag.end(), "rollup_drain": drain / took}
            exact(engine, schema)
        expect(engine, schema, count + last)
    return rows.with_count(last).sized(rows_per_s=stored, **sample)


def chart(engine, rows, folder, quick):
    """The curve of a year from rollups, and the same from readings."""
    part = SIZES["quick" if quick else "full"]
    one, others = OF_ONE // part, OF_OTHERS // part
    schema = engine.fresh_schema("series")
    flags = lambda count, series, seed: ["--count", count, "--series", series, "--seed", seed, "--start-time", rows.start_time,
                                         "--connections", rows.parts, "--time-step", f"{YEAR_S * 1e6 / count:g}us"]
    settings = {"partitions_width": "7d", "rollups": CHART_LEVELS}
    with Service(engine, schema, folder, "series", **settings) as service:
        for count, series, seed in ((others, OTHERS, 1), (one, 1, 2)):
            sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *flags(count, series, seed))
        expect(engine, schema, one + others)
        settled(engine, schema, 600)
        engine.ready()
    id1, id2 = series_id(0)
    question = path("aggregate", id1=id1, id2=id2, from_time=at(0), to_time=at(YEAR_S), bucket="1d", limit=1000)
    times = {}
    for name, chosen, made_from in (("chart_ms", CHART_LEVELS, "1d"), ("chart_readings_ms", None, "readings")):
        with Service(engine, schema, folder, "series", **({"rollups": chosen} if chosen else {})) as service:
            connection = connect(service)
            found = [ask(connection, question) for _ in range(QUESTIONS + 1)][1:]
            answer = json.loads(found[0][1])
            counted = sum(bucket["count"] for bucket in answer["buckets"])
            if made_from not in answer["made_from"] or len(answer["buckets"]) < 365:
                raise Unbalanced(f"{len(answer['buckets'])} buckets made from {answer['made_from']}")
            times[name] = statistics.median(took for took, _ in found)
            times[f"{name}_counted"] = counted
    if times.pop("chart_ms_counted") != times.pop("chart_readings_ms_counted"):
        raise Unbalanced("the rollups say something else than the readings")
    return rows.with_count(one + others).sized(**times)
