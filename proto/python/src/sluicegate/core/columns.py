"""What a caller gives as readings, made into columns of the right types; nothing is changed in silence."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, SupportsIndex, Union

import numpy as np

from ..errors import InvalidReadings
from ..settings import MAX_POSITION_BYTES
from .batch import Readings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .series import SeriesHandle

Timestamp = Union[int, datetime]
"""Microseconds since the Unix epoch, UTC, or a datetime that has a time zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_NAT = np.iinfo(np.int64).min


def micros(timestamp: object) -> int:
    """One time."""
    if isinstance(timestamp, datetime):
        if timestamp.tzinfo is None:
            raise InvalidReadings(
                f"the time {timestamp} has no time zone: make it with datetime.now(timezone.utc), or give microseconds "
                "since the Unix epoch"
            )
        return (timestamp - _EPOCH) // _MICROSECOND
    if isinstance(timestamp, np.datetime64):
        return int(_times(timestamp)[0])
    # What stands for a whole number, such as those of numpy.
    if isinstance(timestamp, SupportsIndex) and not isinstance(timestamp, (bool, np.bool_)):
        return timestamp.__index__()
    raise InvalidReadings(
        f"the time {timestamp!r} is no whole number of microseconds since the Unix epoch: time.time_ns() // 1000 is now"
    )


def readings(series: ArrayLike | SeriesHandle, values: ArrayLike, timestamps_us: ArrayLike, known: int) -> Readings:
    """Columns of the same length; `known` series are registered. Single values are columns of one."""
    value_column, time_column = _values(values), _times(timestamps_us)
    if isinstance(series, int):
        series_column = np.full(len(value_column), series, np.int64)
    else:
        series_column = _one_dimension("series", np.asarray(series))
    lengths = (len(series_column), len(value_column), len(time_column))
    if len(set(lengths)) > 1:
        raise InvalidReadings("the columns differ in length: {} series, {} values, {} timestamps".format(*lengths))
    if len(series_column) == 0:
        series_column = series_column.astype(np.int64)
    if series_column.dtype.kind not in "iu":
        raise InvalidReadings("the series are no numbers of series: give what producer.series() returned, one or a column")
    if len(series_column) > 0:
        for index in (int(series_column.min()), int(series_column.max())):
            check_series(index, known)
    return Readings(series_column.astype(np.uint32), value_column, time_column)


def check_series(index: int, known: int) -> None:
    if not 0 <= index < known:
        raise InvalidReadings(f"the series handle {index} is not one of this producer, which has {known}")


def source_position(position: bytes, *, named: bool) -> bytes:
    if not named:
        raise InvalidReadings("a source position needs a stream with a name: connect with stream_id")
    if not isinstance(position, (bytes, bytearray, memoryview)):
        raise InvalidReadings(f"the source position {position!r} is no bytes: text.encode() makes them of a text")
    if not 1 <= len(position) <= MAX_POSITION_BYTES:
        raise InvalidReadings(f"the source position has {len(position)} bytes: it must have 1 to {MAX_POSITION_BYTES:,}")
    return bytes(position)


def _one_dimension(name: str, column: NDArray[Any]) -> NDArray[Any]:
    if column.ndim > 1:
        raise InvalidReadings(f"the {name} have {column.ndim} dimensions: give a column, such as array[:, 0] or frame['x']")
    return np.atleast_1d(column)


def _values(values: ArrayLike) -> NDArray[np.float64]:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    column = _one_dimension("values", np.asarray(values))
    # Texts would be read as numbers.
    if column.dtype.kind == "O" and any(isinstance(value, (str, bytes)) for value in column):
        raise InvalidReadings("some values are texts: make numbers of them, such as with pandas.to_numeric")
    if column.dtype.kind not in "fiubO":
        raise InvalidReadings(f"the values are {column.dtype}, which are no numbers")
    try:
        # A pandas column that has holes; they are rejected by the service, each with its position.
        if column.dtype.kind == "O" and hasattr(values, "to_numpy"):
            column = np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
        return column.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidReadings(f"some values are no numbers: {error}") from None


def _times(times: ArrayLike) -> NDArray[np.int64]:
    # Of a pandas column with a time zone this is the only sign.
    kind = getattr(getattr(times, "dtype", None), "kind", None)
    if kind == "M" and hasattr(times, "to_numpy"):
        times = times.to_numpy(dtype="datetime64[us]")
    column = _one_dimension("timestamps_us", np.asarray(times))
    if len(column) == 0:
        return column.astype(np.int64)
    if column.dtype.kind == "M":
        whole = column.astype("datetime64[us]").view(np.int64)
        if (whole == _NAT).any():
            raise InvalidReadings(f"the time at index {int(np.argmax(whole == _NAT))} is missing (NaT)")
        return whole
    if column.dtype.kind == "O":
        return np.fromiter((micros(time) for time in column), np.int64, len(column))
    if column.dtype.kind == "f":
        raise InvalidReadings(
            "the timestamps_us are floats: give whole microseconds since the Unix epoch, such as "
            "(seconds * 1e6).astype('int64'), or datetime64"
        )
    if column.dtype.kind not in "iu":
        raise InvalidReadings(f"the timestamps_us are {column.dtype}: give whole microseconds, or datetime64")
    if column.dtype.kind == "u" and int(column.max()) > np.iinfo(np.int64).max:
        raise InvalidReadings("some timestamps_us are above 2^63 - 1")
    return column.astype(np.int64, copy=False)
