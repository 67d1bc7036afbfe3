"""What a case measures with, and the ways of storing that several cases share."""

from dataclasses import dataclass, field
from pathlib import Path

import cases
from engine import Engine


class Beside:
    """Servers that a case needs beside the engine under test: started when they are first asked for, ended with the case."""

    def __init__(self):
        self.servers = {}

    def server(self, name, make):
        if name not in self.servers:
            self.servers[name] = make().__enter__()
        return self.servers[name]

    def described(self):
        return {name: {"version": server.version, "settings": server.settings} for name, server in self.servers.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.servers:
            self.servers.popitem()[1].__exit__()


@dataclass
class Context:
    """What a case measures with."""

    engine: Engine
    rows: cases.Rows
    folder: Path
    quick: bool
    round: int = 1
    beside: Beside = field(default_factory=Beside)


def backlog(context):
    """The readings of cases that store as fast as they can."""
    return context.rows.every(cases.BACKLOG_INTERVAL_S)


def streaming(context, **options):
    return lambda: cases.through_service(context.engine, backlog(context), context.folder, **options)


def steady(context, layout, **options):
    """A stream of series that all have readings already."""
    return streaming(context, layout=layout, there_already=[backlog(context).once_before()], **options)


def sized(measure, context, layout):
    """With the size of what is stored then."""
    def measured():
        sample = measure()
        return {**sample, "mib_per_million_rows": cases.mib_per_million_rows(context.engine, layout)}
    return measured


def files(context, layout="partitioned", parts=2):
    rows = backlog(context).in_parts(parts)
    return lambda: cases.file_load(context.engine, rows, layout)


def small(context, full, quick):
    """Readings of a slow way: enough for some seconds."""
    return quick if context.quick else full
