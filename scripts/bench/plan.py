"""Which cases there are, what each runs in a round, and which figures come of it."""

from dataclasses import dataclass, field
from typing import Callable

import beside
import cases
import doors
import drop
import live
import neighbours
import newest
import rest
import rollups
import series
from context import backlog, files, small, streaming
from process import Unbalanced


@dataclass
class Case:
    about: str
    # The steps of a round, in order.
    steps: Callable
    # Ratios of rows per second, taken round by round: (step, baseline, key in the summary), and the figure where it is another.
    ratios: list = field(default_factory=list)
    # Figures of a step: (step, figure, key in the summary).
    figures: list = field(default_factory=list)
    # Most rounds unless asked for more, for cases that take long.
    rounds_max: int = 5
    # Steps `KIND-1`, `KIND-2` and so on of one table that grows.
    grows: tuple = ()
    # Settings with which a server of its own is started for the case.
    server: dict = field(default_factory=dict)
    # Where it says something.
    engines: tuple = ("mysql", "mariadb")
    in_quick: bool = True
    # Share of the readings of a round: cases that only report take half, so that a full run stays bearable.
    share: float = 1.0
    # Ways of storing that are measured by this case and may be asked for by their own name.
    also: tuple = ()
    # Steps that say how fast Sluicegate itself is: another state of the code may be compared by them.
    compared: tuple = ()


def stream_columns(context):
    return {
        "file-load": files(context),
        "stream-columns": streaming(context),
        "seed-file-load": files(context, "seed"),
    }


def stream_rows(context):
    return {"file-load": files(context), "stream-rows": streaming(context, encoding="rows")}


def stream_acked(context):
    return {"file-load": files(context), "stream-acked": streaming(context, mode="stream-acked")}


def file_load(context):
    return {
        "file-load-1": files(context, parts=1),
        "file-load-2": files(context, parts=2),
        "file-load-4": files(context, parts=4),
        "import-tool": lambda: cases.import_tool(context.engine, backlog(context)),
    }


def inserts(context):
    """One reading at a time: a plain server's INSERTs beside unary calls; and what streaming makes of the same rows."""
    one, many = small(context, 60_000, 30_000), small(context, 1_000_000, 300_000)
    insert = lambda form, connections, count: lambda: cases.insert(context.engine, backlog(context), form, connections, count)
    unary = ["--concurrency", "64"]
    return {
        "insert-row": insert("rows", 64, one),
        "unary": streaming(context, mode="unary", layout="seed", count=one, flags=unary),
        "insert-multi": insert("multi", 2, many),
        "stream-columns": streaming(context),
    }


def batches(context):
    count = small(context, 1_000_000, 300_000)
    def batch(size):
        return streaming(context, mode="batch", count=count, flags=["--batch-size", size, "--concurrency", 32])
    return {"batch-100": batch(100), "batch-1000": batch(1_000)}


def latency(context):
    """Acknowledgement latency at shares of the rate that this very round reaches, of a service that has run for a while: there
    are partitions, and series have numbers. Its first seconds are a step of their own (latency-first)."""
    full, before = {}, [backlog(context).once_before()]

    def acked(layout="partitioned", **options):
        return cases.through_service(context.engine, backlog(context), context.folder, mode="stream-acked", layout=layout,
                                     **options)

    def at_full_rate():
        sample = acked(there_already=before)
        full["rows_per_s"] = sample["rows_per_s"]
        return sample

    def at_share(share, **options):
        def measure():
            if "rows_per_s" not in full:
                raise Unbalanced("there is no full rate to take a share of")
            rate = int(full["rows_per_s"] * share)
            seconds = 3 if context.quick else 6
            sample = acked(count=rate * seconds, flags=["--rate", rate], **options)
            return {**sample, "taken": sample["rows_per_s"] / rate}
        return measure

    shares = {f"latency-{int(share * 100)}": at_share(share, there_already=before) for share in (0.05, 0.10, 0.50, 0.90)}
    return {
        "full-rate": at_full_rate,
        **shares,
        "latency-series": at_share(0.50, there_already=before, layout="series"),
        "latency-first": at_share(0.50),
    }


def layouts(context):
    def of(layout):
        def measure():
            sample = streaming(context, layout=layout)()
            return {**sample, "mib_per_million_rows": cases.mib_per_million_rows(context.engine),
                    "index_mib_per_million_rows": cases.index_mib_per_million_rows(context.engine, context.rows.count)}
        return measure
    return {f"layout-{layout}": of(layout) for layout in ("partitioned", "hashed", "seed")}


def lanes(context):
    """As many connections as the most lanes: a stream has one lane. Over two subpartitions, and over as many as lanes."""
    rows = backlog(context).in_parts(8)

    def over(lanes, subpartitions):
        return lambda: cases.through_service(context.engine, rows, context.folder, ingest_lanes=lanes,
                                             subpartitions=subpartitions)
    return {**{f"lanes-{count}": over(count, 2) for count in (1, 2, 4, 8)},
            **{f"lanes-{count}-subpartitions-{count}": over(count, count) for count in (4, 8)}}


def order(context):
    """Producers in time order, shuffled, and late, onto a table that has readings of two days, and the shuffled ones by LOAD
    DATA from files; the shuffled ones on the layout series; and numbers of series."""
    rows = backlog(context)
    days = [rows.with_count(rows.count // 2).starting(f"2026-01-0{day}T00:00:00Z") for day in (1, 2)]

    def onto(start_time, *flags, layout="partitioned"):
        return lambda: cases.through_service(context.engine, rows.starting(start_time), context.folder, layout=layout,
                                             flags=flags, there_already=days)

    # Behind everything that is there.
    next_hour = "2026-01-02T01:00:00Z"
    series = {f"series-{count}": lambda count=count: cases.through_service(
        context.engine, rows.with_series(count), context.folder) for count in (1_000, 100_000, 1_000_000)}
    return {
        "in-time-order": onto(next_hour),
        "shuffled-10s": onto(next_hour, "--shuffle-within", "10s"),
        "shuffled-file-load": lambda: cases.file_load(context.engine, rows.shuffled("10s")),
        "in-time-order-series": onto(next_hour, layout="series"),
        "shuffled-series": onto(next_hour, "--shuffle-within", "10s", layout="series"),
        # Among the readings of the first day.
        "day-late": onto("2026-01-01T00:00:00Z"),
        **series,
    }


def growth(context):
    steps = 6
    return cases.growth_steps(context.engine, growing(context), context.folder, steps)


def growth_seed(context):
    return cases.growth_seed_steps(context.engine, growing(context), steps=6)


def growing(context):
    """The rows of a step."""
    return context.rows.with_count(context.rows.count if context.quick else 5_000_000)


def other_doors(context):
    """Producers that are not the generator, and brokers."""
    rows = backlog(context)
    fetched = lambda kind: lambda: doors.fetched(context.engine, rows, context.folder, kind)
    posted = lambda form: lambda: doors.posted(context.engine, rows, context.folder, form)
    return {
        "stream-columns": streaming(context),
        "kafka": fetched("kafka"),
        "rabbitmq-stream": fetched("rabbitmq"),
        "ndjson": posted("ndjson"),
        "line-protocol": posted("influx"),
        "python-columns": lambda: doors.pushed_by_python(context.engine, rows, context.folder),
    }


def rest_queries(context):
    asked = lambda layout: lambda: rest.measure(context.engine, context.rows, context.folder, context.quick, layout)
    return {"rest": asked("partitioned"), "rest-series": asked("series")}


def rest_delete(context):
    return {"rest-delete": lambda: beside.delete(context.engine, context.rows, context.folder, context.quick)}


def newest_readings(context):
    def asked(pairs, cached):
        return lambda: newest.measure(context.engine, context.rows, context.folder, context.quick, pairs, cached)
    return {f"newest-{pairs}{suffix}": asked(pairs, cached)
            for pairs in newest.ASKED for suffix, cached in (("", False), ("-cache", True))}


def with_rollups(context):
    def stored(levels, half=False):
        return lambda: rollups.measure(context.engine, context.rows, context.folder, context.quick, levels, half)
    return {"rollups-off": stored(None), "rollups-on": stored(rollups.LEVELS), "rollups-half": stored(rollups.LEVELS, half=True)}


def chart(context):
    return {"chart": lambda: rollups.chart(context.engine, context.rows, context.folder, context.quick)}


def live_watchers(context):
    return {"live": lambda: live.measure(context.engine, context.rows, context.folder, context.quick)}


def rest_slow(context):
    return {"rest-slow": lambda: beside.slow_reader(context.engine, context.rows, context.folder, context.quick)}


def drop_partition(context):
    rows = context.rows.with_count(context.rows.count if context.quick else 5_000_000)
    return {"drop": lambda: drop.measure(context.engine, rows, context.folder)}


LANES = ("lanes-1", "lanes-2", "lanes-4", "lanes-8", "lanes-4-subpartitions-4", "lanes-8-subpartitions-8")


def ack_figures(share):
    step = f"latency-{share}"
    return [*((step, f"ack_ms.{quantile}", f"{step}.{quantile}_ms") for quantile in ("p50", "p90", "p99", "p999", "max")),
            (step, "taken", f"{step}.taken")]


def rates(*steps):
    return [(step, "rows_per_s", f"{step}.rows_per_s") for step in steps]


DOORS = ("kafka", "rabbitmq-stream", "ndjson", "line-protocol", "python-columns")

# MariaDB's own default makes a LOAD into `seed` hold a lock to its end.
INTERLEAVED = {"innodb_autoinc_lock_mode": "2"}

NEWEST = [f"newest-{pairs}{suffix}" for pairs in newest.ASKED for suffix in ("", "-cache")]

CASES = {
    "stream-columns": Case(
        "client streaming in columns beside two clients with LOAD DATA from files",
        stream_columns,
        ratios=[
            ("stream-columns", "file-load", "stream-columns/file-load"),
            ("stream-columns", "seed-file-load", "stream-columns/seed-file-load"),
        ],
        figures=[
            *rates("file-load", "seed-file-load", "stream-columns"),
            ("stream-columns", "service_cpu_us", "service.cpu_us_per_reading.columns"),
            ("stream-columns", "generator_cpu_us", "generator.cpu_us_per_reading.columns"),
            ("stream-columns", "database_cpu_us", "database.cpu_us_per_reading.columns"),
            ("stream-columns", "service_peak_rss_mib", "service.peak_rss_mib"),
            ("stream-columns", "core_to_core_ns", "machine.core_to_core_ns"),
        ],
        compared=("stream-columns",),
    ),
    "interleaved": Case(
        "as stream-columns, where clients that load into seed need not take turns (innodb_autoinc_lock_mode = 2, which is "
        "MySQL's default)",
        stream_columns,
        ratios=[("stream-columns", "seed-file-load", "interleaved.stream-columns/seed-file-load")],
        figures=[("seed-file-load", "rows_per_s", "interleaved.seed-file-load.rows_per_s")],
        server=INTERLEAVED,
        engines=("mariadb",),
        in_quick=False,
    ),
    "stream-rows": Case(
        "client streaming, a message field for each reading",
        stream_rows,
        ratios=[("stream-rows", "file-load", "stream-rows/file-load")],
        figures=[*rates("stream-rows"), ("file-load", "rows_per_s", "stream-rows.file-load.rows_per_s"), ("stream-rows", "service_cpu_us", "service.cpu_us_per_reading.rows")],
        share=0.5,
        compared=("stream-rows",),
    ),
    "stream-acked": Case(
        "bidirectional streaming in columns",
        stream_acked,
        ratios=[("stream-acked", "file-load", "stream-acked/file-load")],
        figures=[*rates("stream-acked"), ("file-load", "rows_per_s", "stream-acked.file-load.rows_per_s")],
        share=0.5,
        compared=("stream-acked",),
    ),
    "file-load": Case(
        "LOAD DATA LOCAL INFILE by 1, 2 and 4 clients, and the engine's import program with 2 threads",
        file_load,
        figures=rates("file-load-1", "file-load-2", "file-load-4", "import-tool"),
        in_quick=False,
        share=0.5,
    ),
    "inserts": Case(
        "one autocommitted INSERT per reading over 64 connections, 64 unary callers, INSERTs of 1,000, all into seed; and "
        "a stream in columns into partitioned",
        inserts,
        ratios=[
            ("unary", "insert-row", "unary/insert-row"),
            ("stream-columns", "insert-row", "stream-columns/insert-row"),
            ("stream-columns", "insert-multi", "stream-columns/insert-multi"),
        ],
        figures=[*rates("insert-row", "insert-multi", "unary"),
                 ("stream-columns", "rows_per_s", "inserts.stream-columns.rows_per_s")],
        also=("insert-row", "insert-multi", "unary"),
        compared=("unary",),
    ),
    "batches": Case(
        "unary calls of 100 and of 1,000 readings, 32 callers",
        batches,
        figures=rates("batch-100", "batch-1000"),
        also=("batch",),
        compared=("batch-100", "batch-1000"),
    ),
    "latency": Case(
        "from the intended send time to the durable acknowledgement, open loop, at shares of the full rate, of a service that "
        "has run for a while; at half of it on the layout series too (latency-series), and from its first reading on "
        "(latency-first)",
        latency,
        figures=[("full-rate", "rows_per_s", "latency.full-rate.rows_per_s"),
                 *[figure for share in (5, 10, 50, 90, "series", "first") for figure in
                   (*rates(f"latency-{share}"), *ack_figures(share))]],
    ),
    "series": Case(
        "the layout series beside the default, with series that have readings already; series-first: with series that all are "
        "new; series-rows: a message field for each reading",
        series.beside_the_default,
        ratios=[("series", "partitioned", "series/partitioned"), ("series-first", "partitioned", "series-first/partitioned"),
                ("series", "series-file-load", "series/file-load"), ("series", "seed-file-load", "series/seed-file-load")],
        figures=[*rates("partitioned", "series", "series-first", "series-rows", "series-file-load"),
                 ("seed-file-load", "rows_per_s", "series.seed-file-load.rows_per_s"),
                 *[(layout, "mib_per_million_rows", f"{layout}.mib_per_million_rows")
                   for layout in ("partitioned", "series")],
                 ("partitioned", "service_cpu_us", "partitioned.service_cpu_us_per_reading.columns"),
                 ("series", "service_cpu_us", "series.service_cpu_us_per_reading.columns"),
                 ("series-rows", "service_cpu_us", "series.service_cpu_us_per_reading.rows"),
                 *[(layout, "database_cpu_us", f"{layout}.database_cpu_us_per_reading")
                   for layout in ("partitioned", "series")]],
        compared=("partitioned", "series", "series-rows"),
    ),
    "series-many": Case(
        "1,000,000 series in the layout series with room to remember them: new ones, those that the service knows, and those "
        "that only the database has (series-cold), as the service was started anew; series-beyond: known ones, with the room "
        "for them that is the default",
        series.many,
        ratios=[("series-new", "series-known", "series-new/series-known"),
                ("series-cold", "series-known", "series-cold/series-known"),
                ("series-beyond", "series-known", "series-beyond/series-known")],
        figures=[*rates("series-new", "series-known", "series-cold", "series-beyond"),
                 ("series-known", "service_peak_rss_mib", "series-known.service_peak_rss_mib")],
        in_quick=False,
        share=0.5,
        compared=("series-new", "series-known", "series-cold", "series-beyond"),
    ),
    "binlog": Case(
        "a stream into the layout series on a server with a binary log, of rows and synced at each commit, beside one without",
        series.binary_log,
        ratios=[("binlog-on", "binlog-off", "binlog-on/binlog-off")],
        figures=[*rates("binlog-off", "binlog-on"),
                 *[(step, "database_cpu_us", f"{step}.database_cpu_us_per_reading") for step in ("binlog-off", "binlog-on")]],
        in_quick=False,
        share=0.5,
    ),
    "neighbours": Case(
        "streams in columns, plain and into the layout series, beside COPY by two clients into PostgreSQL, divided by time, and "
        "into TimescaleDB, with the same columns and keys; and beside LOAD DATA into the layout series",
        neighbours.steps,
        ratios=[(f"stream-columns{kind}", f"{other}-copy{kind}", f"stream-columns{kind}/{other}-copy{kind}")
                for kind in ("", "-series") for other in ("postgresql", "timescaledb")] +
               [("stream-columns-series", "series-file-load", "neighbours.stream-columns-series/file-load")],
        figures=[(step, figure, f"neighbours.{step}.{name}")
                 for figure, name in (("rows_per_s", "rows_per_s"), ("database_cpu_us", "database_cpu_us_per_reading"),
                                      ("mib_per_million_rows", "mib_per_million_rows"))
                 for step in ("stream-columns", "stream-columns-series", "series-file-load", *neighbours.COPIES)],
        in_quick=False,
    ),
    "layouts": Case(
        "the three layouts of the table",
        layouts,
        figures=[
            *rates("layout-partitioned", "layout-hashed", "layout-seed"),
            *[(f"layout-{layout}", size, f"layout-{layout}.{size}")
              for size in ("mib_per_million_rows", "index_mib_per_million_rows")
              for layout in ("partitioned", "hashed", "seed")],
        ],
        share=0.5,
        compared=("layout-partitioned", "layout-hashed", "layout-seed"),
    ),
    "lanes": Case(
        "1, 2, 4 and 8 lanes over two subpartitions, 4 and 8 over as many, eight connections; and how often the server's threads "
        "waited",
        lanes,
        ratios=[("lanes-2", "lanes-1", "lanes-2/lanes-1"), ("lanes-4", "lanes-2", "lanes-4/lanes-2"),
                ("lanes-8", "lanes-2", "lanes-8/lanes-2"),
                *[(f"lanes-{count}-subpartitions-{count}", f"lanes-{count}", f"lanes-{count}.subpartitions-{count}/2")
                  for count in (4, 8)]],
        figures=[(step, figure, f"{step}.{name}") for step in LANES
                 for figure, name in (("rows_per_s", "rows_per_s"), ("database_cpu_us", "database_cpu_us_per_reading"),
                                      ("database_waits_per_1000", "database_waits_per_1000_readings"))],
        in_quick=False,
        share=0.5,
        compared=("lanes-1", "lanes-2", "lanes-4"),
    ),
    "order": Case(
        "producers in time order, shuffled within 10 s and one day late; shuffled from files, and on the layout series; 1,000, "
        "100,000 and 1,000,000 series",
        order,
        ratios=[
            ("shuffled-10s", "in-time-order", "shuffled-10s/in-time-order"),
            ("shuffled-10s", "shuffled-file-load", "shuffled-10s/file-load"),
            ("shuffled-series", "in-time-order-series", "shuffled-series/in-time-order"),
            ("day-late", "in-time-order", "day-late/in-time-order"),
            ("series-1000000", "series-1000", "series-1000000/series-1000"),
        ],
        figures=[*rates("in-time-order", "shuffled-10s", "shuffled-file-load", "in-time-order-series", "shuffled-series",
                        "day-late", "series-1000", "series-100000", "series-1000000"),
                 *[(step, "database_cpu_us", f"{step}.database_cpu_us_per_reading") for step in
                   ("in-time-order", "shuffled-10s", "in-time-order-series", "shuffled-series")],
                 ("series-1000000", "service_peak_rss_mib", "series-1000000.service_peak_rss_mib")],
        in_quick=False,
        share=0.5,
    ),
    "doors": Case(
        "fetched from Kafka and from streams of RabbitMQ in messages of 1,000, sent over HTTP as NDJSON and as line protocol, "
        "pushed in columns by the Python client; beside a stream in columns",
        other_doors,
        ratios=[(step, "stream-columns", f"{step}/stream-columns") for step in DOORS],
        figures=[*rates(*DOORS), ("stream-columns", "rows_per_s", "doors.stream-columns.rows_per_s"),
                 *[(step, "service_cpu_us", f"{step}.service_cpu_us_per_reading") for step in DOORS]],
        in_quick=False,
        share=0.5,
    ),
    "rest": Case(
        "questions over REST on 10,000,000 readings of 5,000 series with a buffer pool of 2 GiB, and an export of all; the same "
        "on the layout series (rest-series)",
        rest_queries,
        ratios=[("rest-series", "rest", f"rest-series/rest.{name}", name) for name in rest.QUESTIONS],
        figures=[(step, name, f"{step}.{name}") for step in ("rest", "rest-series")
                 for name in (*rest.QUESTIONS, "export_rows_per_s", "export_growth_mib")],
        server=rest.SERVER,
        rounds_max=3,
        in_quick=False,
    ),
    "rest-delete": Case(
        "a stream beside a delete of 1,000,000 readings, and the same stream alone before and after",
        rest_delete,
        figures=[("rest-delete", "kept", "rest-delete/alone"), ("rest-delete", "delete_s", "rest-delete.delete_s")],
        in_quick=False,
    ),
    "rest-slow": Case(
        "a stream beside an export whose client reads 64 KiB a second, and the same stream alone before and after",
        rest_slow,
        figures=[("rest-slow", "kept", "rest-slow/alone"), ("rest-slow", "growth_mib", "rest-slow.growth_mib")],
        in_quick=False,
    ),
    "newest": Case(
        "a stream beside somebody who asks for the newest readings of 100 pairs twenty times a second, and of 1,000 pairs five times "
        "a second, from the database and from a cache; the same stream alone before and after",
        newest_readings,
        figures=[(step, figure, f"{step}{separator}{key}") for step in NEWEST for figure, separator, key in (
            ("newest_p50_ms", ".", "p50_ms"), ("newest_p99_ms", ".", "p99_ms"), ("newest_hits", ".", "hits"), ("kept", "/", "alone"))],
        rounds_max=3,
        in_quick=False,
    ),
    "rollups": Case(
        "a stream of a minute into the layout series, without rollups, with those of a minute and an hour, and with them at half the rate",
        with_rollups,
        ratios=[("rollups-on", "rollups-off", "rollups/without")],
        figures=[("rollups-on", "rollup_drain", "rollups.drain"), ("rollups-on", "rollup_lag_s", "rollups.lag_s"),
                 ("rollups-half", "rollup_lag_s", "rollups-half.lag_s")],
        rounds_max=3,
        in_quick=False,
    ),
    "chart": Case(
        "the curve of a year of one series with 1,000,000 readings, beside 30,000,000 of others, from rollups and from readings",
        chart,
        figures=[("chart", "chart_ms", "chart.ms"), ("chart", "chart_readings_ms", "chart.readings_ms")],
        server=rest.SERVER,
        rounds_max=1,
        in_quick=False,
    ),
    "live": Case(
        "a stream beside 1,000 who watch one series each with an event a second, and the same stream alone before and after",
        live_watchers,
        figures=[("live", "kept", "live/alone"), ("live", "live_events_per_s", "live.events_per_s"),
                 ("live", "live_growth_mib", "live.growth_mib")],
        rounds_max=3,
        in_quick=False,
    ),
    "drop": Case(
        "the longest time without a commit while retention drops a partition of 5,000,000 readings, at full rate",
        drop_partition,
        figures=[("drop", name, f"drop.{name}") for name in ("stop_ms", "otherwise_ms", "took_ms", "rows_per_s")],
        in_quick=False,
    ),
    "growth": Case(
        "30,000,000 readings in steps of 5,000,000, through the service into partitioned and into series",
        growth,
        ratios=[
            ("growth-last", "growth-first", "growth.last/first"),
            ("growth-series-last", "growth-series-first", "growth.series-last/series-first"),
        ],
        figures=[
            *[(f"growth-{kind}{number}", "rows_per_s", f"growth.{kind}{number}.rows_per_s")
              for kind in ("", "series-") for number in range(1, 7)],
        ],
        rounds_max=3,
        grows=("growth", "growth-series"),
        server=INTERLEAVED,
        in_quick=False,
    ),
    "growth-seed": Case(
        "30,000,000 readings in steps of 5,000,000, from files into seed; once, for it takes a quarter of an hour to get slow",
        growth_seed,
        ratios=[("growth-seed-last", "growth-seed-first", "growth.seed-last/seed-first")],
        figures=[(f"growth-seed-{number}", "rows_per_s", f"growth.seed-{number}.rows_per_s") for number in range(1, 7)],
        rounds_max=1,
        grows=("growth-seed",),
        server=INTERLEAVED,
        in_quick=False,
    ),
}


def case_of(name):
    """The case of this name, or that measures the way of storing of this name."""
    return name if name in CASES else next(case for case in CASES if name in CASES[case].also)


def compared_steps(name):
    """The steps that compare states of the code by a case, or by a way of storing that it measures."""
    of_case = CASES[case_of(name)].compared
    return list(of_case) if name in CASES else [step for step in of_case if step.startswith(name)]


def servers_of(names, engine_name):
    """The settings of the server that cases share, and the cases, of those that this engine has."""
    groups = {}
    for name in names:
        if engine_name in CASES[name].engines:
            groups.setdefault(tuple(CASES[name].server.items()), []).append(name)
    return groups.items()


NAMES = sorted([*CASES, *(name for case in CASES.values() for name in case.also)])
