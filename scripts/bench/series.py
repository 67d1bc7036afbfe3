"""The steps that the layout series is measured by: beside the default, with many series, and with a binary log."""

import cases
from chart import NAMES
from context import backlog, files, sized, steady, streaming
from engine import Engine

MANY_SERIES = {"quick": 150_000, "full": 1_000_000}
# Each lane's part of it holds all of them. The default holds a quarter.
CACHE_FOR_MANY_BYTES = 256 << 20
# As docs/tuning.md has it, where there has to be one.
BINARY_LOG = {"log_bin": "binlog", "sync_binlog": "1", "server_id": "1"}
# MySQL has it so by default.
BINARY_LOG_OF = {"mysql": {}, "mariadb": {"binlog_format": "ROW"}}


def by_few(rows):
    """As many readings right before as there are series, but of 1,000: partitions are there, and nearly all series are new."""
    return rows.once_before().with_series(1_000)


def beside_the_default(context):
    """Readings with the numbers of their series: stored by us and by LOAD DATA, and beside what they are stored as otherwise."""
    return {
        "partitioned": sized(steady(context, "partitioned"), context, "partitioned"),
        "series": sized(steady(context, "series"), context, "series"),
        "series-first": streaming(context, layout="series", there_already=[by_few(backlog(context))]),
        "series-rows": steady(context, "series", encoding="rows"),
        "series-file-load": files(context, "series"),
        "seed-file-load": files(context, "seed"),
    }


def many(context):
    """Series that come for the first time; that the service knows; that the database has and a new service does not know; and
    more of them than the service remembers."""
    rows = context.rows.with_series(MANY_SERIES["quick" if context.quick else "full"]).every(cases.BACKLOG_INTERVAL_S)

    def of_many(**options):
        return lambda: cases.through_service(context.engine, rows, context.folder, layout="series", **options)

    before = [rows.once_before()]
    room = {"ingest_series_cache_bytes": CACHE_FOR_MANY_BYTES}
    return {
        "series-new": of_many(there_already=[by_few(rows)], **room),
        "series-known": of_many(there_already=before, **room),
        "series-cold": of_many(there_already=before, restarted=True, **room),
        "series-beyond": of_many(there_already=before),
    }


def binary_log(context):
    """On a server without a binary log and on one with it."""
    engine, rows = context.engine, backlog(context)
    settings = {**BINARY_LOG, **BINARY_LOG_OF[engine.name]}

    def logging():
        return context.beside.server(f"{NAMES[engine.name]} with a binary log",
                                     lambda: Engine(engine.name, context.folder.parent / f"{engine.name}-binlog", settings))

    def stored(server, other):
        other.ready()
        return cases.through_service(server, rows, context.folder, layout="series", there_already=[rows.once_before()])

    def on():
        sample = stored(logging(), engine)
        logging().purge_binary_logs()
        return sample

    return {"binlog-off": lambda: stored(engine, logging()), "binlog-on": on}
