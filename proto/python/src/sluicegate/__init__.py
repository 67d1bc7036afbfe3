"""Streams sensor readings to Sluicegate, which stores them exactly once in MySQL or MariaDB.

    from sluicegate import Producer

    with Producer.connect("http://127.0.0.1:50051", stream_id="gateway-7") as producer:
        boiler = producer.series(7, "boiler", "temperature")
        producer.push(boiler, 71.5, 1_767_225_600_000_000)
        producer.flush()  # from here on the reading is durable

``sluicegate.aio`` has the same for asyncio, ``sluicegate.v1`` the messages of the contract.
"""

from .core.books import Progress, RejectedReading, Trouble
from .core.series import SeriesHandle
from .errors import (
    Closed,
    Fenced,
    GaveUp,
    InvalidReadings,
    InvalidSetting,
    PositionLost,
    ProducerEnded,
    Refused,
    SluicegateError,
    Stopped,
    TimedOut,
)
from .producer import Producer
from .settings import Options

__all__ = [
    "Producer",
    "Options",
    "SeriesHandle",
    "Progress",
    "Trouble",
    "RejectedReading",
    "SluicegateError",
    "ProducerEnded",
    "Fenced",
    "Refused",
    "GaveUp",
    "PositionLost",
    "Closed",
    "Stopped",
    "InvalidSetting",
    "InvalidReadings",
    "TimedOut",
]
