"""The series a producer knows: append-only, so that an index means the same thing for the producer's whole life."""

from __future__ import annotations

from operator import index

from ..errors import InvalidReadings
from ..v1.sensor_service_pb2 import Series, SeriesTags
from . import wire

_SERIES_FIELD, _SERIES_TAGS_FIELD = 1, 7
"""Of ColumnBatch."""
_MAX = 2**32 - 1


class SeriesHandle(int):
    """A series that was registered with ``Producer.series``: its number in that producer, from 0 in order of registration."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"SeriesHandle({int(self)})"


class SeriesTable:
    def __init__(self) -> None:
        self._index: dict[tuple[int, str, str], SeriesHandle] = {}
        self._entries: list[Series] = []
        # As a field of a ColumnBatch.
        self._encoded: list[bytes] = []
        # Of those that have some.
        self._tags: dict[int, dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def intern(self, id1: int, id2: str, sensor_type: str) -> SeriesHandle:
        """The index of the series; registers it when it is new."""
        key = (id1, id2, sensor_type)
        known = self._index.get(key)
        if known is not None:
            return known
        if len(self._entries) >= _MAX:
            raise InvalidReadings("a producer holds fewer than 2^32 series")
        try:
            # protobuf would make a number of a text that looks like one, and nothing of None.
            if not isinstance(id2, str) or not isinstance(sensor_type, str):
                raise TypeError("a text is missing")
            entry = Series(id1=index(id1), id2=id2, sensor_type=sensor_type)
        except (TypeError, ValueError):
            raise InvalidReadings(
                f"id1 {id1!r}, id2 {id2!r}, sensor_type {sensor_type!r} are no series: id1 has to be a whole number of 32 "
                "bits, id2 and sensor_type texts"
            ) from None
        handle = SeriesHandle(len(self._entries))
        self._entries.append(entry)
        self._encoded.append(wire.delimited(_SERIES_FIELD, entry.SerializeToString()))
        self._index[key] = handle
        return handle

    def tag(self, number: int, tags: dict[str, str]) -> None:
        self._tags[number] = tags

    def encoded_tags(self, number: int, place: int) -> bytes:
        """What is said of the series, as a field of a ColumnBatch in which it has the place `place`; nothing for most."""
        tags = self._tags.get(number)
        if tags is None:
            return b""
        told = SeriesTags(series_index=place, tags=tags)
        return wire.delimited(_SERIES_TAGS_FIELD, told.SerializeToString())

    def get(self, number: int) -> Series:
        return self._entries[number]

    def encoded(self, number: int) -> bytes:
        """The series as a field of a ColumnBatch."""
        return self._encoded[number]
