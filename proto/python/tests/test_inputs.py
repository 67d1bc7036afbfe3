"""What may be given as readings, and what is said of the rest."""

import datetime as dt

import numpy as np
import pytest
from conftest import PATIENCE_S

import sluicegate

pd = pytest.importorskip("pandas")
UTC = dt.timezone.utc
START = dt.datetime(2026, 1, 1, tzinfo=UTC)
START_US = 1_767_225_600_000_000


@pytest.fixture
def producer(connect):
    return connect(stream_id="a", max_batch_readings=1_000)


@pytest.fixture
def times_of(producer, fake):
    """The times that arrive when these are pushed."""

    def pushed(times):
        values = np.zeros(np.size(times))
        producer.push_columns(producer.series(1, "a", "t"), values, times)
        producer.flush(timeout_s=PATIENCE_S)
        return [reading.timestamp_us for reading in fake.stored]

    return pushed


@pytest.mark.parametrize(
    "times",
    [
        [START_US, START_US + 1],
        np.array([START_US, START_US + 1]),
        np.array([START_US, START_US + 1], np.uint64),
        [START, START + dt.timedelta(microseconds=1)],
        np.array(["2026-01-01T00:00:00.000000", "2026-01-01T00:00:00.000001"], "datetime64[us]"),
        np.array(["2026-01-01T00:00:00.000000000", "2026-01-01T00:00:00.000001000"], "datetime64[ns]"),
        pd.Series(pd.to_datetime(["2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000001Z"])),
        pd.Series(pd.to_datetime(["2026-01-01T01:00:00.000000+01:00", "2026-01-01T01:00:00.000001+01:00"])),
        pd.DatetimeIndex(["2026-01-01T00:00:00.000000", "2026-01-01T00:00:00.000001"]),
        pd.Series([START_US, START_US + 1]),
    ],
    ids=str,
)
def test_times_of_every_kind_arrive_as_microseconds(times_of, times):
    assert times_of(times) == [START_US, START_US + 1]


def test_single_times_may_be_datetimes_and_numbers_of_numpy(producer, fake):
    handle = producer.series(1, "a", "t")
    for time in (START, START_US, np.int64(START_US), pd.Timestamp(START), np.datetime64("2026-01-01")):
        producer.push(handle, 1, time)
    producer.push(handle, np.float32(1.5), START_US)
    producer.push(np.int64(0), True, START_US)
    producer.close(timeout_s=PATIENCE_S)
    assert {reading.timestamp_us for reading in fake.stored} == {START_US}
    assert fake.values == [1, 1, 1, 1, 1, 1.5, 1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        (np.array([1, 2], np.float32), [1, 2]),
        (np.array([True, False]), [1, 0]),
        (pd.Series([1, None], dtype="Int64"), [1]),
        (pd.Series([1.5, None]), [1.5]),
        (np.ma.masked_array([1.5, 7], [False, True]), [1.5]),
        (np.arange(4)[::2], [0, 2]),
    ],
    ids=str,
)
def test_values_of_every_kind_arrive_and_those_that_are_missing_are_rejected(producer, fake, values, expected):
    producer.push_columns(producer.series(1, "a", "t"), values, [1, 2])
    producer.close(timeout_s=PATIENCE_S)
    assert fake.values == expected
    assert len(producer.take_rejected()) == 2 - len(expected)


@pytest.mark.parametrize(
    ("series", "values", "times", "says"),
    [
        (0, [1, 2], [1], "the columns differ in length: 2 series, 2 values, 1 timestamps"),
        ([0], [1, 2], [1, 2], "1 series, 2 values"),
        (1, [1], [1], "the series handle 1 is not one of this producer, which has 1"),
        ([-1], [1], [1], "handle -1"),
        (["a"], [1], [1], "no numbers of series"),
        (0, ["1"], [1], "no numbers"),
        (0, pd.Series(["1", "x"], dtype=object), [1, 2], "texts"),
        (0, [[1, 2]], [1, 2], "2 dimensions"),
        (0, [1], [1.5], "whole microseconds"),
        (0, [1], ["2026-01-01"], "datetime64"),
        (0, [1], np.array(["NaT"], "datetime64[us]"), "missing"),
        (0, [1], [dt.datetime(2026, 1, 1)], "no time zone"),
        (0, [1], np.array([2**64 - 1], np.uint64), "above"),
        (0, [1], [None], "no whole number"),
        (0, [1j], [1], "complex"),
    ],
    ids=str,
)
def test_columns_that_are_none_are_refused_whole_and_with_a_reason(producer, series, values, times, says):
    producer.series(1, "a", "t")
    with pytest.raises(sluicegate.InvalidReadings, match=says):
        producer.push_columns(series, values, times)
    assert producer.next_seq() == 1
    assert producer.push_columns([], [], []) == 0


@pytest.mark.parametrize(
    ("series", "value", "time", "says"),
    [
        (0, "71", 1, "no reading"),
        (0, None, 1, "no reading"),
        (0, 1, 1.5, "time.time_ns"),
        (0, 1, "now", "time.time_ns"),
        (0, 1, True, "time.time_ns"),
        (0, 1, 2**63, "no reading"),
        (0, 1, dt.datetime(2026, 1, 1), "no time zone"),
        (7, 1, 1, "the series handle 7"),
    ],
    ids=str,
)
def test_a_reading_that_is_none_is_refused_with_a_reason(producer, series, value, time, says):
    producer.series(1, "a", "t")
    with pytest.raises(sluicegate.InvalidReadings, match=says):
        producer.push(series, value, time)
    assert producer.next_seq() == 1


@pytest.mark.parametrize("key", [("7", "a", "t"), (2**31, "a", "t"), (1, 7, "t"), (1, "a", None), (1.5, "a", "t")], ids=str)
def test_a_series_that_is_none_is_refused(producer, key):
    with pytest.raises(sluicegate.InvalidReadings, match="are no series"):
        producer.series(*key)


def test_a_series_keeps_its_handle(producer):
    handles = [producer.series(i % 3, "a", "t") for i in range(9)]
    assert handles == [0, 1, 2] * 3
    assert producer.series(np.int64(1), "a", "t") == 1
    assert repr(handles[1]) == "SeriesHandle(1)"


def test_a_frame_goes_in_with_a_row_for_each_reading(producer, fake):
    frame = pd.DataFrame(
        {
            "id1": [8, 7, 8],
            "id2": ["gate", "boiler", "gate"],
            "kind": pd.Categorical(["open", "temperature", "open"]),
            "sensor_value": [1, 71.5, 0],
            "timestamp": pd.to_datetime([START_US, START_US + 1, START_US + 2], unit="us", utc=True),
        }
    )
    producer.push_frame(frame, sensor_type="kind")
    assert producer.push_frame(frame[:0], sensor_type="kind") == 3
    producer.close(timeout_s=PATIENCE_S)
    assert [(reading.series, reading.value, reading.timestamp_us - START_US) for reading in fake.stored] == [
        ((8, "gate", "open"), 1, 0),
        ((7, "boiler", "temperature"), 71.5, 1),
        ((8, "gate", "open"), 0, 2),
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id2": [None, "b"]}, "no id1, id2"),
        ({"id1": [1.5, 2]}, "no whole number"),
        ({"sensor_value": ["a", "b"]}, "numbers"),
    ],
    ids=str,
)
def test_a_frame_that_is_none_is_refused(producer, change, says):
    good = {"id1": [1, 2], "id2": ["a", "b"], "sensor_type": ["t", "t"], "sensor_value": [1, 2], "timestamp": [1, 2]}
    with pytest.raises(sluicegate.InvalidReadings, match="no column 'timestamp'"):
        producer.push_frame(pd.DataFrame(good).drop(columns="timestamp"))
    with pytest.raises(sluicegate.InvalidReadings, match=says):
        producer.push_frame(pd.DataFrame({**good, **change}))
    assert producer.next_seq() == 1


def test_a_reading_of_the_contract_needs_its_value_and_its_time(producer, fake):
    from sluicegate.v1.sensor_service_pb2 import SensorReading

    for absent in ("sensor_value", "timestamp_us"):
        reading = SensorReading(id1=1, id2="a", sensor_type="t", sensor_value=0, timestamp_us=0)
        reading.ClearField(absent)
        with pytest.raises(sluicegate.InvalidReadings, match=f"no {absent}"):
            producer.send(reading)
    producer.send(SensorReading(id1=1, id2="a", sensor_type="t", sensor_value=0, timestamp_us=0))
    producer.close(timeout_s=PATIENCE_S)
    assert fake.values == [0]


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"": "x"}, "the tag ''"),
        ({"a b": "x"}, "the tag 'a b'"),
        ({"n" * 65: "x"}, "1 to 64"),
        ({"a\n": "x"}, r"the tag 'a\\n'"),
        ({1: "x"}, "the tag 1"),
        ({"a": ""}, "1 to 255 characters"),
        ({"a": "x" * 256}, "1 to 255 characters"),
        ({"a": " x"}, "a blank"),
        ({"a": "x\u0000y"}, "a control character"),
        ({"a": "\ud800"}, "a control character"),
        ({"a": 5}, "is 5: it has to be a text"),
        ({f"tag{number}": "x" for number in range(33)}, "33 tags"),
    ],
    ids=str,
)
def test_tags_that_no_series_may_have_are_refused_and_register_nothing(producer, tags, says):
    with pytest.raises(sluicegate.InvalidReadings, match=says):
        producer.series(1, "a", "t", tags=tags)
    assert producer.series(2, "b", "t").real == 0


def test_rows_bring_no_tags(connect):
    producer = connect(stream_id="rows", encoding="rows")
    with pytest.raises(sluicegate.InvalidReadings, match="columns"):
        producer.series(1, "a", "t", tags={"site": "north"})
