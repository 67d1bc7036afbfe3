"""What leaving MySQL and MariaDB would bring: the same readings in PostgreSQL and in TimescaleDB, by their fastest usual way."""

import postgresql
from context import backlog, files, sized, steady

COPIES = {
    "postgresql-copy": ("PostgreSQL", "partitioned"),
    "postgresql-copy-series": ("PostgreSQL", "series"),
    "timescaledb-copy": ("TimescaleDB", "partitioned"),
    "timescaledb-copy-series": ("TimescaleDB", "series"),
}


def copying(context, name, layout):
    rows = backlog(context)

    def measure():
        server = context.beside.server(
            name, lambda: postgresql.PostgreSQL(context.folder.parent / name, timescaledb=name == "TimescaleDB"))
        # What it has not written yet would be written beside the copy.
        context.engine.ready()
        server.warm_up(rows)
        return postgresql.copied(server, rows, layout)

    return measure


def steps(context):
    return {
        "stream-columns": sized(steady(context, "partitioned"), context, "partitioned"),
        "postgresql-copy": copying(context, *COPIES["postgresql-copy"]),
        "timescaledb-copy": copying(context, *COPIES["timescaledb-copy"]),
        "stream-columns-series": sized(steady(context, "series"), context, "series"),
        "postgresql-copy-series": copying(context, *COPIES["postgresql-copy-series"]),
        "timescaledb-copy-series": copying(context, *COPIES["timescaledb-copy-series"]),
        "series-file-load": sized(files(context, "series"), context, "series"),
    }
