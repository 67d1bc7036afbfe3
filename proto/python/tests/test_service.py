"""The producers against the real service and a real MariaDB, both of which are killed on the way."""

import itertools
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import service
from conftest import PATIENCE_S

import sluicegate

reason = service.missing()
pytestmark = [
    pytest.mark.skipif(reason is not None, reason=str(reason)),
    pytest.mark.filterwarnings("default::ResourceWarning"),
]
START_US = 1_767_225_600_000_000
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    if reason is not None:
        pytest.skip(reason)
    made = service.Service(tmp_path_factory.mktemp("service"))
    yield made
    made.end()


@pytest.fixture
def id1():
    """Of the series that a test has for itself."""
    return next(_ids)


def numbers_of(first, count):
    numbers = np.arange(first, first + count)
    return numbers.astype(float), START_US + numbers * 1_000


def total(count):
    return count * (count - 1) / 2


@pytest.mark.parametrize("acked", [True, False])
@pytest.mark.parametrize("encoding", ["columns", "rows"])
def test_what_is_pushed_is_stored_once(connect_to, running, id1, acked, encoding):
    name = f"plain-{id1}"
    producer = connect_to(running.target, stream_id=name, acked=acked, encoding=encoding)
    handles = np.array([producer.series(id1, f"sensor-{i}", "temperature") for i in range(100)])
    values, times = numbers_of(0, 20_000)
    assert producer.push_columns(handles[np.arange(20_000) % 100], values, times) == 20_000
    books = producer.close(timeout_s=PATIENCE_S)
    assert (books.committed, books.committed_seq, books.rejected, books.duplicate) == (20_000, 20_000, 0, 0)
    assert running.stored(id1) == (20_000, 20_000, total(20_000))
    ((value, moment),) = running.sql(
        f"SELECT sensor_value, UNIX_TIMESTAMP(ts) FROM sensor_readings WHERE id1 = {id1} AND id2 = 'sensor-7' ORDER BY ts LIMIT 1"
    )
    assert (float(value), float(moment)) == (7, (START_US + 7_000) / 1e6)
    assert running.stream(name)["committed_seq"] == 20_000


def test_an_anonymous_stream_is_stored(connect_to, running, id1):
    producer = connect_to(running.target)
    producer.push_columns(producer.series(id1, "a", "t"), *numbers_of(0, 1_000))
    assert producer.close(timeout_s=PATIENCE_S).committed == 1_000
    assert running.stored(id1) == (1_000, 1_000, total(1_000))


def test_a_bad_reading_comes_back_with_its_position_and_hurts_no_other(connect_to, running, id1):
    producer = connect_to(running.target, stream_id=f"bad-{id1}")
    handle = producer.series(id1, "a", "t")
    producer.push(handle, 1, START_US)
    wrong_unit = producer.push(handle, 2, START_US // 1_000_000)
    no_number = producer.push(handle, float("nan"), START_US)
    producer.push(handle, 0, START_US + 1)
    books = producer.close(timeout_s=PATIENCE_S)
    assert (books.committed, books.rejected) == (2, 2)
    first, second = producer.take_rejected()
    assert (first.seq, first.field, second.seq, second.field) == (wrong_unit, "timestamp_us", no_number, "sensor_value")
    assert "seconds?" in first.reason
    assert running.stored(id1)[0] == 2


def test_a_second_writer_fences_the_first(connect_to, running, id1):
    first = connect_to(running.target, stream_id=f"fence-{id1}")
    handle = first.series(id1, "a", "t")
    first.push_columns(handle, *numbers_of(0, 100))
    first.flush(timeout_s=PATIENCE_S)
    second = connect_to(running.target, stream_id=f"fence-{id1}")
    assert second.next_seq() == 101
    first.push_columns(handle, *numbers_of(100, 100))
    with pytest.raises(sluicegate.Fenced):
        first.flush(timeout_s=PATIENCE_S)
    second.push_columns(second.series(id1, "a", "t"), *numbers_of(100, 100))
    second.close(timeout_s=PATIENCE_S)
    assert running.stored(id1) == (200, 200, total(200))


def test_a_service_that_is_killed_in_mid_stream_loses_nothing_and_stores_nothing_twice(connect_to, running, id1):
    count, part = 120_000, 1_000
    name = f"killed-{id1}"
    producer = connect_to(running.target, stream_id=name, max_batch_readings=500, backoff_s=(0.05, 0.5))
    handle = producer.series(id1, "a", "t")
    ended = threading.Event()

    def kill_it():
        draw = random.Random(id1)
        for _ in range(3):
            if ended.wait(draw.uniform(0.3, 1.5)):
                return
            running.kill()
            running.start()

    killer = threading.Thread(target=kill_it)
    killer.start()
    for first in range(0, count, part):
        producer.push_columns(handle, *numbers_of(first, part))
        time.sleep(0.02)
    producer.flush()
    ended.set()
    killer.join()
    books = producer.close()
    assert (books.committed, books.duplicate, books.committed_seq) == (count, 0, count)
    assert books.reconnects > 0
    assert running.stored(id1) == (count, count, total(count))
    assert running.stream(name)["committed_seq"] == count


def test_a_service_that_is_stopped_and_started_disturbs_nobody(connect_to, running, id1):
    producer = connect_to(running.target, stream_id=f"stopped-{id1}", backoff_s=(0.05, 0.5))
    handle = producer.series(id1, "a", "t")
    producer.push_columns(handle, *numbers_of(0, 5_000))
    assert running.stop() == 0
    producer.push_columns(handle, *numbers_of(5_000, 5_000))
    running.start()
    assert producer.close().committed == 10_000
    assert running.stored(id1) == (10_000, 10_000, total(10_000))


GATEWAY = Path(__file__).with_name("gateway.py")


@pytest.mark.parametrize("kind", ["threads", "asyncio", "positions"])
def test_a_producer_that_is_killed_goes_on_where_its_stream_stands(running, id1, kind):
    count = 60_000
    draw = random.Random(id1)
    command = [sys.executable, GATEWAY, kind, running.target, f"gateway-{id1}", str(id1), str(count)]
    kills = 0
    while True:
        # The first one cannot end by itself, however fast it is.
        hold = ["hold"] if kills == 0 else []
        with subprocess.Popen([*command, *hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as gateway:
            assert gateway.stdout.readline() == "connected\n"
            if kills < 5:
                time.sleep(draw.uniform(0.05, 0.4))
                gateway.kill()
            out = gateway.communicate(timeout=300)[0]
        if gateway.returncode == 0:
            break
        kills += 1
    assert f"durable up to {count}" in out
    assert kills > 0
    assert running.stored(id1) == (count, count, total(count))
    assert running.stream(f"gateway-{id1}")["committed_seq"] == count


def test_a_service_with_tls_and_tokens_takes_those_it_knows(connect_to, tmp_path, id1):
    program = f"{service.PROGRAMS}/sluicegate"

    def sluicegate_does(*arguments):
        return subprocess.run([program, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    sluicegate_does("certs", "tls", "--names", "localhost,127.0.0.1")
    sluicegate_does("token", "new", "--name", "p", "--scopes", "ingest:plant/", "--file", "tokens.yaml", "--into", "token")
    tls = ["--tls-cert", "tls/server.pem", "--tls-key", "tls/server.key", "--auth-tokens", "tokens.yaml"]
    guarded = service.Service(tmp_path, *tls, scheme="https")
    try:
        trust = {"tls_ca": tmp_path / "tls/ca.pem", "connect_patience_s": 5}
        known = connect_to(guarded.target, stream_id="plant/a", bearer_token_file=tmp_path / "token", **trust)
        known.push_columns(known.series(id1, "a", "t"), *numbers_of(0, 10))
        assert known.close(timeout_s=PATIENCE_S).committed == 10
        with pytest.raises(sluicegate.Refused, match="PERMISSION_DENIED"):
            connect_to(guarded.target, stream_id="mill/a", bearer_token_file=tmp_path / "token", **trust)
        with pytest.raises(sluicegate.Refused, match=r"UNAUTHENTICATED.*give another token"):
            connect_to(guarded.target, stream_id="plant/a", **trust)
        with pytest.raises(sluicegate.GaveUp, match="https://"):
            connect_to(guarded.target.replace("https", "http"), stream_id="plant/a", connect_patience_s=1)
    finally:
        guarded.end()


def test_tags_of_series_are_stored(connect_to, tmp_path):
    made = service.Service(tmp_path, "--layout", "series")
    try:
        producer = connect_to(made.target, stream_id="tagged")
        halls = {"north": "Süd, Halle 3", "south": "x" * 255}
        for name, hall in halls.items():
            producer.push(producer.series(1, name, "temperature", tags={"hall": hall, "unit": "°C"}), 1.0, START_US)
        producer.push(producer.series(1, "plain", "temperature"), 1.0, START_US)
        producer.close(timeout_s=PATIENCE_S)
        # They are written beside the readings.
        expected = sorted([name, tag, value] for name, hall in halls.items() for tag, value in (("hall", hall), ("unit", "°C")))
        query = "SELECT id2, tag, value FROM series_tags JOIN series USING (series_id) ORDER BY id2, tag"
        end = time.monotonic() + PATIENCE_S
        while (found := made.sql(query)) != expected:
            assert time.monotonic() < end, found
            time.sleep(0.1)
    finally:
        made.end()
