"""What questions cost over REST: the median time from request to last byte, on a table of 10,000,000 readings."""

import http.client
import json
import statistics
import time
import urllib.parse

from cases import LIVE_STEP_US, expect
from process import Service, Unbalanced, sluicegen

READINGS = 10_000_000
PER_SERIES = 2_000  # so that a page of 1,000 readings can be of one series
PAGE = 1_000
# How long each takes, milliseconds.
QUESTIONS = ("page_by_time_ms", "page_by_ids_time_ms", "latest_100_ms", "aggregate_series_ms", "aggregate_all_ms",
             "first_page_ms", "last_page_ms")
# The table and its indexes fit: what is measured is the questions, not the disk.
SERVER = {"innodb_buffer_pool_size": "2G"}

START_S = 1_767_225_600  # 2026-01-01T00:00:00Z


def connect(service):
    return http.client.HTTPConnection(service.rest.removeprefix("http://"), timeout=600)


def ask(connection, path, accept="application/json", with_headers=False):
    began = time.perf_counter()
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise Unbalanced(f"{path}: {answer.status} {body[:200]}")
    took_ms = (time.perf_counter() - began) * 1000
    return (took_ms, body, answer.headers) if with_headers else (took_ms, body)


def path(route, **parameters):
    return f"/api/v1/sensor/{route}?{urllib.parse.urlencode(parameters, safe=',')}"


def series_id(number):
    return number // 1_000, f"sensor-{number:06}"


def at(seconds):
    return int((START_S + seconds) * 1000)


def median_ms(connection, paths, list_name="readings", items=PAGE):
    """The median over the paths, each of which has to answer with so many items."""
    times = []
    for one in paths:
        took, body = ask(connection, one)
        found = sum(1 for item in json.loads(body)[list_name] if item.get("reading", item))
        if found != items:
            raise Unbalanced(f"{one}: {found} of {items} found")
        times.append(took)
    return statistics.median(times)


def last_page_ms(connection, first):
    """Follows the cursors of a query to its end: the time of the first page and of the last full one."""
    times, cursor = [], None
    for _ in range(200):
        took, body = ask(connection, first + (f"&cursor={cursor}" if cursor else ""))
        page = json.loads(body)
        cursor = page.get("next_cursor")
        if not cursor:
            break
        times.append(took)
    return statistics.median(times[:5]), statistics.median(times[-5:])


def measure(engine, rows, folder, quick, layout):
    readings = 1_000_000 if quick else READINGS
    rows = rows.with_count(readings).with_series(readings // PER_SERIES)
    schema = engine.fresh_schema(layout)
    with Service(engine, schema, folder, layout) as service:
        sluicegen("run", "--target", service.grpc, "--mode", "stream", "--json", *rows.flags())
        expect(engine, schema, readings)
        engine.ready()
        connection = connect(service)
        span = readings * LIVE_STEP_US / 1e6
        starts = [span * place / 51 for place in range(50)]
        buckets = min(PAGE, rows.series)
        ids = lambda number: dict(zip(("id1", "id2"), series_id(number)))
        all_time = {"from_time": at(0), "to_time": at(span + 1)}
        pairs = [series_id(number * 997 % rows.series) for number in range(100)]
        latest = path("latest", id1=",".join(str(one) for one, _ in pairs), id2=",".join(two for _, two in pairs))
        first, last = last_page_ms(connection, path("time", limit=PAGE, from_time=at(0), to_time=at(min(span, 0.5))))
        sample = {
            "page_by_time_ms": median_ms(
                connection, [path("time", limit=PAGE, from_time=at(start), to_time=at(span + 1)) for start in starts]),
            "page_by_ids_time_ms": median_ms(
                connection, [path("ids-time", limit=PAGE, **ids(number * 1_999 % rows.series), **all_time)
                             for number in range(50)]),
            "latest_100_ms": median_ms(connection, [latest] * 20, "latest", 100),
            "aggregate_series_ms": median_ms(
                connection, [path("aggregate", bucket="1d", **ids(number * 1_999 % rows.series), **all_time)
                             for number in range(50)], "buckets", 1),
            "aggregate_all_ms": median_ms(
                connection, [path("aggregate", bucket="1d", limit=buckets, from_time=at(span * place / 10),
                                  to_time=at(span * (place + 1) / 10)) for place in (1, 3, 5, 7, 9)], "buckets", buckets),
            "first_page_ms": first,
            "last_page_ms": last,
        }
    # One that has ingested nothing: memory that it once had would hide what the export takes.
    with Service(engine, schema, folder, layout) as service:
        return {**rows.sized(**sample), **export(service, path("time", **all_time), readings)}


def export(service, query, readings):
    """All readings as NDJSON, at full speed."""
    connection = connect(service)
    before = service.resident()
    began = time.monotonic()
    connection.request("GET", query, headers={"Accept": "application/x-ndjson"})
    answer = connection.getresponse()
    lines = 0
    while chunk := answer.read(1 << 20):
        lines += chunk.count(b"\n")
    if lines != readings:
        raise Unbalanced(f"the export has {lines} of {readings} readings")
    return {"export_rows_per_s": lines / (time.monotonic() - began), "export_growth_mib": float(service.peak() - before)}
