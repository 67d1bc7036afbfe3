"""Which cases there are, what each runs in a round, and which figures come of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import cases
from engine import Engine


@dataclass
class Context:
    """What a case measures with."""

    engine: Engine
    rows: cases.Rows
    folder: Path
    quick: bool


@dataclass
class Case:
    about: str
    # The steps of one round, in order.
    steps: Callable
    # Ratios of rows per second, taken round by round: (step, baseline, key in the summary).
    ratios: list = field(default_factory=list)
    # Figures of a step: (step, figure, key in the summary).
    figures: list = field(default_factory=list)
    repeated: bool = True
    in_quick: bool = True


def streaming(context, **options):
    return lambda: cases.through_service(context.engine, context.rows, context.folder, **options)


def stream_columns(context):
    return {
        "file-load": lambda: cases.file_load(context.engine, context.rows),
        "stream-columns": streaming(context),
        "seed-file-load": lambda: cases.file_load(context.engine, context.rows, "seed"),
    }


def stream_rows(context):
    return {
        "file-load": lambda: cases.file_load(context.engine, context.rows),
        "stream-rows": streaming(context, encoding="rows"),
    }


def stream_acked(context):
    return {
        "file-load": lambda: cases.file_load(context.engine, context.rows),
        "stream-acked": streaming(context, mode="stream-acked"),
    }


def latency(context):
    """Acknowledgement latency at shares of the rate that this very round reaches."""
    full = {}

    def at_full_rate():
        sample = streaming(context)()
        full["rows_per_s"] = sample["rows_per_s"]
        return sample

    def at_share(share):
        def measure():
            rate = int(full["rows_per_s"] * share)
            count = rate * (5 if context.quick else 10)
            return cases.through_service(context.engine, context.rows, context.folder, mode="stream-acked", count=count,
                                         flags=["--rate", rate])
        return measure

    shares = {f"latency-{int(share * 100)}": at_share(share) for share in (0.05, 0.10, 0.50, 0.90)}
    return {"full-rate": at_full_rate, **shares}


CASES = {
    "stream-columns": Case(
        "client streaming in columns beside two clients with LOAD DATA from files",
        stream_columns,
        ratios=[
            ("stream-columns", "file-load", "stream-columns/file-load"),
            ("stream-columns", "seed-file-load", "stream-columns/seed-file-load"),
        ],
        figures=[
            ("file-load", "rows_per_s", "file-load.rows_per_s"),
            ("seed-file-load", "rows_per_s", "seed-file-load.rows_per_s"),
            ("stream-columns", "rows_per_s", "stream-columns.rows_per_s"),
            ("stream-columns", "service_cpu_us", "service.cpu_us_per_reading.columns"),
            ("stream-columns", "generator_cpu_us", "generator.cpu_us_per_reading.columns"),
            ("stream-columns", "database_cpu_us", "database.cpu_us_per_reading.columns"),
            ("stream-columns", "service_peak_rss_mib", "service.peak_rss_mib"),
        ],
    ),
    "stream-rows": Case(
        "client streaming, one message field per reading",
        stream_rows,
        ratios=[("stream-rows", "file-load", "stream-rows/file-load")],
        figures=[
            ("stream-rows", "rows_per_s", "stream-rows.rows_per_s"),
            ("stream-rows", "service_cpu_us", "service.cpu_us_per_reading.rows"),
        ],
    ),
    "stream-acked": Case(
        "bidirectional streaming in columns",
        stream_acked,
        ratios=[("stream-acked", "file-load", "stream-acked/file-load")],
        figures=[("stream-acked", "rows_per_s", "stream-acked.rows_per_s")],
    ),
    "latency": Case(
        "from the intended send time to the durable acknowledgement, open loop, at shares of the full rate",
        latency,
        figures=[
            (f"latency-{share}", f"ack_ms.{quantile}", f"latency-{share}.{quantile}_ms")
            for share in (5, 10, 50, 90)
            for quantile in ("p50", "p99", "p999")
        ],
    ),
}
