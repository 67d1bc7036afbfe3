"""The form of the files in bench-results/: described once, written into its README, and held when a file is written."""

NUMBER = (int, float)

# Of `bench-results/CASE.json`: path, type, meaning. `*` stands for any key, `[]` for each item of a list, `?` is behind a
# key that need not be there.
CASE = [
    ("case", str, "name of the case, as `scripts/bench.sh --list` shows it"),
    ("about", str, "what it measures, in words"),
    ("engines", dict, "one entry for each engine that was measured: `mysql`, `mariadb`"),
    ("engines.*.commit", str, "of the code when the case began; `+changes` behind it when the code differed from the commit"),
    ("engines.*.measured_at", str, "UTC, RFC 3339"),
    ("engines.*.command", str, "what measures this again"),
    ("engines.*.machine", dict, "`cpu`, `cores`, `memory_gib`, `kernel`, `file_system` of the databases"),
    ("engines.*.machine.cpu", str, "model of the processor"),
    ("engines.*.machine.cores", int, "cores, for everything together"),
    ("engines.*.machine.memory_gib", NUMBER, "memory of the machine"),
    ("engines.*.machine.kernel", str, "release of the kernel"),
    ("engines.*.version", str, "what the database server says of itself"),
    ("engines.*.settings", dict, "settings of the database server in this case; null is a flag without a value"),
    ("engines.*.beside?", dict, "other servers of the case, by name"),
    ("engines.*.beside?.*.version", str, "what they are"),
    ("engines.*.beside?.*.settings", dict, "settings of that server"),
    ("engines.*.readings", int, "readings of one round; steps that need fewer or more say so in their samples"),
    ("engines.*.series", int, "different series, where a step does not say otherwise"),
    ("engines.*.figures", dict, "the results: name to spread over the rounds; `a/b` is the rate of a over that of b, "
                                "or the time where `_ms` is behind it, taken round by round"),
    ("engines.*.figures.*.median", NUMBER, "what `summary.json` has"),
    ("engines.*.figures.*.min", NUMBER, "the smallest round"),
    ("engines.*.figures.*.max", NUMBER, "the largest round"),
    ("engines.*.figures.*.rounds", int, "rounds that have a figure; one whose books do not balance has none"),
    ("engines.*.samples", dict, "everything that was measured: step to a list with one sample for each round"),
    ("engines.*.samples.*", list, "in the order of the rounds"),
    ("engines.*.samples.*[]", (dict, type(None)), "figure to number, or to a group of numbers such as `ack_ms`; null where "
                                                  "the books did not balance"),
]

# What figures of samples mean.
SAMPLE = {
    "readings": "how many it stored",
    "series": "of how many series",
    "rows_per_s": "readings stored per second, from the first one sent to the last acknowledgement or end of a client",
    "service_cpu_us": "CPU time of the service per reading, microseconds",
    "generator_cpu_us": "CPU time of the generator per reading, microseconds",
    "database_cpu_us": "CPU time of the database server per reading, microseconds",
    "database_waits_per_1000": "how often threads of the database server waited, for a latch, a lock, the disk or the next "
                               "statement, for each 1,000 readings: its voluntary context switches",
    "service_peak_rss_mib": "the most memory that the service had, MiB",
    "ack_ms": "from the intended send time to the durable acknowledgement: `p50`, `p90`, `p99`, `p999`, `max`, milliseconds",
    "taken": "`latency`: share of the offered rate that was acknowledged until the last reading was; well below 1, the "
             "database did not keep up for the round, and the latency is that of a queue",
    "core_to_core_ns": "time of a cache line from one core to another and back just before the step, nanoseconds: on a virtual "
                       "machine it changes, and rates with it; null where there is one core",
    "mib_per_million_rows": "table and indexes on disk, MiB",
    "index_mib_per_million_rows": "of that, the secondary indexes, by the engine's own statistics, MiB",
    "stop_ms": "`drop`: longest time without a commit while the partition was dropped and half a second around it, "
               "milliseconds",
    "otherwise_ms": "`drop`: longest time without a commit in the rest of the stream, milliseconds",
    "took_ms": "`drop`: duration of the ALTER, milliseconds",
    "before_rows_per_s": "`rest-delete`, `rest-slow`: rate of the stream alone, before",
    "after_rows_per_s": "`rest-delete`, `rest-slow`: rate of the stream alone, after, when the database has written and purged",
    "alone_rows_per_s": "`rest-delete`, `rest-slow`: mean of these two",
    "kept": "`rest-delete`, `rest-slow`, `newest`, `live`: rate beside the other work over the rate alone",
    "newest_p50_ms": "`newest`: time of an answer, median, milliseconds",
    "newest_p99_ms": "`newest`: time of an answer that one in a hundred takes longer than, milliseconds",
    "newest_hits": "`newest`: share of the answers that came from the cache alone",
    "rollup_lag_s": "`rollups`: the furthest that the rollups were behind, seconds",
    "rollup_drain": "`rollups`: time after the end of the stream until all of it was in them, over the time of the stream",
    "chart_ms": "`chart`: the curve of a year of one series, by days, from rollups, median of 20, milliseconds",
    "chart_readings_ms": "`chart`: the same from readings, milliseconds",
    "live_events_per_s": "`live`: events that each watcher got in a second",
    "live_growth_mib": "`live`: memory of the service at the end of the stream beside the watchers, less that before they came, MiB",
    "delete_s": "`rest-delete`: duration of the delete, seconds",
    "growth_mib": "`rest-slow`: memory of the service at the end of the stream beside the export, less that before it, MiB",
    "page_by_time_ms": "`rest`: a page of 1,000 readings from a point in time on, median of 50, milliseconds",
    "page_by_ids_time_ms": "`rest`: 1,000 readings of one series, median of 50, milliseconds",
    "latest_100_ms": "`rest`: the newest reading of each of 100 pairs of ids, median of 20, milliseconds",
    "aggregate_series_ms": "`rest`: count, average and so on of the 2,000 readings of one series, in one bucket of a day, median "
                           "of 50, milliseconds",
    "aggregate_all_ms": "`rest`: the same for each series over a tenth of the readings, of which the first 1,000 buckets are "
                        "returned, median of 5, milliseconds",
    "first_page_ms": "`rest`: the first five pages of a walk by cursor, median, milliseconds",
    "last_page_ms": "`rest`: the last five full pages of it, median, milliseconds",
    "export_rows_per_s": "`rest`: readings per second of an export of all as NDJSON",
    "export_growth_mib": "`rest`: how much that export made a fresh service grow, MiB",
}

# Of `bench-results/summary.json`.
SUMMARY = [
    ("commit", str, "of the code when the summary was written; the file of each case has the one that was measured"),
    ("machine", dict, "on which the summary was written; each case names its own"),
    ("mysql", dict, "name of a figure to its median, over all cases"),
    ("mysql.*", NUMBER, "a median"),
    ("mariadb", dict, "the same"),
    ("mariadb.*", NUMBER, "a median"),
]

# Of `bench-results/against.json`.
AGAINST = [
    ("old", str, "the commit that was compared with"),
    ("new", str, "the commit that was measured; `+changes` behind it when the code differed from it"),
    ("machine", dict, "on which both ran"),
    ("measured_at", str, "UTC, RFC 3339, when it began"),
    ("engines", dict, "one entry for each engine: `mysql`, `mariadb`"),
    ("engines.*.version", str, "what the database server says of itself"),
    ("engines.*.steps", dict, "one entry for each way of storing that was compared"),
    ("engines.*.steps.*.readings", int, "that each run stored, unless its sample says otherwise"),
    ("engines.*.steps.*.figures", dict, "figure of a sample to what came of it"),
    ("engines.*.steps.*.figures.*.old", NUMBER, "median of the old code"),
    ("engines.*.steps.*.figures.*.new", NUMBER, "median of the new code"),
    ("engines.*.steps.*.figures.*.ratio", dict, "new over old, taken pair by pair"),
    ("engines.*.steps.*.figures.*.ratio.*", NUMBER, "`median`, `min`, `max`, `quartile_low`, `quartile_high`, and how many "
                                                    "`pairs` there are: one whose books do not balance has no ratio"),
    ("engines.*.steps.*.samples", list, "everything that was measured, pair by pair"),
    ("engines.*.steps.*.samples[]", dict, "`old` and `new`: a sample each, null where the books did not balance"),
]


def values_at(document, path):
    """All values that a path of the tables above leads to."""
    found = [document]
    for part in path.replace("[]", ".[]").split("."):
        if part == "*":
            found = [value for one in found for value in one.values()]
        elif part == "[]":
            found = [item for one in found for item in one]
        elif part.endswith("?"):
            found = [one[part[:-1]] for one in found if part[:-1] in one]
        else:
            found = [one[part] for one in found]
    return found


def check(document, fields, name):
    """Ends the program when a document has not this form."""
    for path, kind, _ in fields:
        try:
            found = values_at(document, path)
        except (KeyError, AttributeError, TypeError):
            raise SystemExit(f"{name}: there is no {path}") from None
        for value in found:
            # To Python, true and false are numbers.
            if not isinstance(value, kind) or isinstance(value, bool):
                raise SystemExit(f"{name}: {path} is {value!r}")
    first_parts = {path.split(".")[0] for path, _, _ in fields}
    unknown = set(document) - first_parts
    if unknown:
        raise SystemExit(f"{name}: {', '.join(sorted(unknown))} is not described in schema.py")


def type_name(kind):
    names = {str: "string", int: "integer", dict: "object", list: "list", NUMBER: "number",
             (dict, type(None)): "object or null"}
    return names[kind]


def section():
    """The description, as lines of Markdown."""
    def table(fields):
        return ["| key | type | meaning |", "|---|---|---|",
                *[f"| `{path}` | {type_name(kind)} | {meaning} |" for path, kind, meaning in fields]]

    return [
        "## The files",
        "",
        "`CASE.json` has everything that was measured of a case. `*` stands for any key, `[]` for each item of a list, `?` is",
        "behind a key that need not be there:",
        "",
        *table(CASE),
        "",
        "| figure of a sample | meaning |",
        "|---|---|",
        *[f"| `{name}` | {meaning} |" for name, meaning in SAMPLE.items()],
        "",
        "`summary.json` has the medians of all cases:",
        "",
        *table(SUMMARY),
        "",
        "`against.json` compares two states of the code (`scripts/bench.sh --against COMMIT --write`):",
        "",
        *table(AGAINST),
    ]
