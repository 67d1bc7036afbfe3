"""A gateway that is killed by its test: it can tell the reading of every position again.

gateway.py threads|asyncio|positions TARGET STREAM ID1 COUNT [hold]

With `hold` it goes no further than half of them.
"""

import asyncio
import sys

import sluicegate
import sluicegate.aio

START_US = 1_767_225_600_000_000
KIND, TARGET, STREAM = sys.argv[1:4]
ID1, COUNT = int(sys.argv[4]), int(sys.argv[5])
HOLDS_AT = COUNT // 2 if "hold" in sys.argv[6:] else None
OPTIONS = {"stream_id": STREAM, "max_batch_readings": 300, "max_unacknowledged_bytes": 200_000}


def reading(number):
    if number == HOLDS_AT:
        sys.stdin.read()
    return float(number), START_US + number * 1_000


def with_threads():
    with sluicegate.Producer.connect(TARGET, **OPTIONS) as producer:
        print("connected", flush=True)
        handle = producer.series(ID1, "a", "t")
        for number in range(producer.next_seq() - 1, COUNT):
            producer.push(handle, *reading(number))
        return producer.close().committed_seq


async def with_asyncio():
    async with sluicegate.aio.Producer.connect(TARGET, **OPTIONS) as producer:
        print("connected", flush=True)
        handle = producer.series(ID1, "a", "t")
        for number in range(producer.next_seq() - 1, COUNT):
            await producer.push(handle, *reading(number))
        return (await producer.close()).committed_seq


def with_positions():
    """Twenty readings at a time, and what stands for a source's position behind them."""
    with sluicegate.Producer.connect(TARGET, from_source_position=True, **OPTIONS) as producer:
        print("connected", flush=True)
        handle = producer.series(ID1, "a", "t")
        first = int(producer.source_position() or b"0")
        for start in range(first, COUNT, 20):
            values, times = zip(*[reading(number) for number in range(start, start + 20)])
            producer.push_with_position(handle, values, times, str(start + 20).encode())
        return producer.close().committed_seq


durable = asyncio.run(with_asyncio()) if KIND == "asyncio" else with_positions() if KIND == "positions" else with_threads()
print("durable up to", durable)
