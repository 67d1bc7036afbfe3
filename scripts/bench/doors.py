"""Readings that come in otherwise than by the generator: out of brokers, over HTTP, from Python. Each way stores the same readings."""

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

from builds import PROGRAMS
from cases import expect
from process import RUNNING, Service, Unbalanced, cpu_seconds, end

# How long all may take, seconds.
LIMIT_S = 600


class Fed:
    """A broker with the readings of files in it."""

    def __init__(self, kind, rows):
        self.command = [PROGRAMS / "examples/fed_broker", kind, *rows.files()]

    def __enter__(self):
        environment = {**os.environ, "SLUICEGATE_TEST_KAFKA": "required", "SLUICEGATE_TEST_RABBITMQ": "required"}
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        RUNNING.append(self)
        self.settings = self.process.stdout.readline().strip()
        if not self.settings:
            raise SystemExit("the broker did not start")
        return self

    def __exit__(self, *_):
        RUNNING.remove(self)
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            end(self.process)


def books(service):
    with urllib.request.urlopen(service.rest + "/readyz", timeout=30) as answer:
        return json.load(answer)["books"]


def resume(service, source):
    urllib.request.urlopen(urllib.request.Request(f"{service.rest}/sources/{source}/resume", method="PUT"), timeout=30).read()


@contextlib.contextmanager
def measured_service(engine, rows, folder, sample, counts_from_first=False, **settings):
    """A service whose costs go into `sample`, until all readings are committed. Its rate begins with the work inside, or when the
    first readings are there: a broker that has just started takes seconds to make a group."""
    schema = engine.fresh_schema("partitioned")
    with Service(engine, schema, folder, **settings) as service:
        engine.ready()
        before = cpu_seconds(engine.process.pid), service.cpu()
        sample["began"] = time.monotonic()
        yield service
        deadline = time.monotonic() + LIMIT_S
        slowest_s = 0.0
        first = None if counts_from_first else (sample["began"], 0)
        while True:
            asked = time.monotonic()
            committed = books(service)["committed"]
            now = time.monotonic()
            slowest_s = max(slowest_s, now - asked)
            if committed and not first:
                first = now, committed
            if committed >= rows.count:
                break
            if time.monotonic() > deadline:
                raise Unbalanced(f"{committed} of {rows.count} committed after {LIMIT_S} s")
            time.sleep(0.02)
        starting_s = first[0] - sample.pop("began")
        after = cpu_seconds(engine.process.pid), service.cpu()
        service.expect_books(rows.count)
        expect(engine, schema, rows.count)
        sample.update(rows.sized(
            rows_per_s=(rows.count - first[1]) / (now - first[0]),
            starting_s=starting_s,
            database_cpu_us=(after[0] - before[0]) * 1e6 / rows.count,
            service_cpu_us=(after[1] - before[1]) * 1e6 / rows.count,
            service_peak_rss_mib=service.peak(),
            readyz_max_ms=slowest_s * 1e3,
        ))


def fetched(engine, rows, folder, kind):
    """All readings are in the broker when the service begins to fetch them: one source for each stream of RabbitMQ."""
    with Fed(kind, rows) as broker:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "sources.yaml"
        settings = [broker.settings] if kind == "kafka" else [
            broker.settings.replace("readings-", f"readings-{number}") for number in range(rows.parts)]
        config.write_text("sources:\n" + "".join(
            f"  - {{name: bench-{number}, paused: true, protobuf: ColumnBatch, {one}}}\n" for number, one in enumerate(settings)))
        sample = {}
        with measured_service(engine, rows, folder, sample, counts_from_first=True, config=config) as service:
            for number in range(len(settings)):
                resume(service, f"bench-{number}")
        return sample


def lines_of(rows, form):
    """Files with the same readings, as lines of a form."""
    for file in rows.files():
        other = file.with_suffix(f".{form}")
        if not other.exists():
            with open(file) as source, open(other, "w") as target:
                target.writelines(map(LINES[form], source))
        other.read_bytes()  # into the page cache
        yield other


def ndjson(line):
    _, id1, id2, sensor_type, value, at = line.rstrip("\n").split("\t")
    return f'{{"id1":{id1},"id2":"{id2}","sensor_type":"{sensor_type}","sensor_value":{value},"timestamp":"{at.replace(" ", "T")}Z"}}\n'


def influx(line):
    _, id1, id2, sensor_type, value, at = line.rstrip("\n").split("\t")
    # Times of the benchmark are of few days: what a day begins with is kept.
    day, clock = at.split(" ")
    began = DAYS.setdefault(day, int(time.mktime(time.strptime(f"{day} UTC", "%Y-%m-%d %Z"))) - time.timezone)
    hours, minutes, seconds = clock.split(":")
    at_us = (began + int(hours) * 3600 + int(minutes) * 60) * 1_000_000 + round(float(seconds) * 1e6)
    return f"bench,id1={id1},id2={id2} {sensor_type}={value} {at_us}\n"


DAYS = {}
LINES = {"ndjson": ndjson, "influx": influx}
PATHS = {"ndjson": ("/api/v1/readings", "application/x-ndjson"), "influx": ("/api/v2/write?precision=us", "text/plain")}


def posted(engine, rows, folder, form):
    """One request for each file, by curl, as fast as the service takes it."""
    files = list(lines_of(rows, form))
    path, content_type = PATHS[form]
    sample = {}
    with measured_service(engine, rows, folder, sample) as service:
        clients = [subprocess.Popen(["curl", "--silent", "--show-error", "--fail", "--request", "POST", "--header",
                                     f"Content-Type: {content_type}", "--header", "Expect:", "--upload-file", file,
                                     "--output", os.devnull, service.rest + path]) for file in files]
        if any(client.wait(LIMIT_S) for client in clients):
            raise Unbalanced("a client failed")
    return sample


def pushed_by_python(engine, rows, folder):
    """Columns of NumPy, by the Python client, one process for each file."""
    python = Path(os.environ.get("SLUICEGATE_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
                  / "sluicegate") / "python-client/bin/python"
    if not python.exists():
        raise SystemExit("the Python client is not there: scripts/python.sh builds it")
    program = Path(__file__).with_name("push_columns.py")
    sample = {}
    pushing = [subprocess.Popen([python, program, file, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
               for number, file in enumerate(rows.files())]
    try:
        # They read the files before.
        for one in pushing:
            if one.stdout.readline() != "ready\n":
                raise SystemExit("the Python client did not start")
        with measured_service(engine, rows, folder, sample) as service:
            for one in pushing:
                print(service.grpc, file=one.stdin, flush=True)
            if any(one.wait(LIMIT_S) for one in pushing):
                raise Unbalanced("a client failed")
    finally:
        for one in pushing:
            if one.poll() is None:
                end(one)
    return sample
