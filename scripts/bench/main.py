"""Runs cases in rounds, so that each figure and its baseline share the machine's mood, and writes bench-results/."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import against
import report
import scraped
import security
from cases import Rows
from context import Context
from engine import Engine
from plan import CASES, NAMES, case_of, servers_of
from process import Unbalanced, core_to_core_ns, stop_all


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer readings and 3 rounds instead of 5")
    parser.add_argument("--case", action="append", choices=NAMES, help="only this case")
    parser.add_argument("--engine", action="append", choices=["mysql", "mariadb"], help="only this engine")
    parser.add_argument("--rounds", type=int, help="rounds, instead of 5 (3 with --quick)")
    parser.add_argument("--count", type=int, help="readings of a round, instead of 4000000 (600000 with --quick)")
    parser.add_argument("--against", metavar="COMMIT", help="compare with that commit, in ten alternating pairs (4 with "
                        "--quick, or --rounds); stream-columns and stream-rows, or the cases that are named")
    parser.add_argument("--scraped", action="store_true", help="what it costs to be asked for /metrics every second, in "
                        "alternating pairs as with --against; stream-columns, or the cases that are named")
    parser.add_argument("--secured", action="store_true", help="what TLS and a token cost, in alternating pairs as with "
                        "--against; stream-columns and unary, or the cases that are named")
    parser.add_argument("--write", action="store_true", help="with --against: write bench-results/against.json")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    arguments = parser.parse_args()
    if arguments.write and not arguments.against:
        parser.error("--write belongs to --against: without it the results are always written")
    if sum(map(bool, (arguments.scraped, arguments.secured, arguments.against))) > 1:
        parser.error("--scraped, --secured and --against each measure pairs: one at a time")
    return arguments


def options(arguments):
    """Those that a figure depends on, as they were given."""
    given = [f"--{name} {value}" for name in ("rounds", "count") if (value := getattr(arguments, name))]
    return " ".join(["--quick"] * arguments.quick + given)


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run_case(name, context, rounds):
    """All samples of a case: step to one for each round. Where the books do not balance, None stands in its place, so
    that ratios compare samples of the same round."""
    samples = {}
    for number in range(rounds):
        context.round = number + 1
        found = {}
        for step, measure in CASES[name].steps(context).items():
            before = core_to_core_ns()
            try:
                found[step] = {**measure(), "core_to_core_ns": before}
                say(f"  round {number + 1}: {step}: " + report.brief(found[step]))
            except Unbalanced as reason:
                found[step] = None
                say(f"  round {number + 1}: {step}: NO FIGURE, {reason}")
        for kind in CASES[name].grows:
            grow(kind, found)
        for step, sample in found.items():
            samples.setdefault(step, []).append(sample)
    return samples


def grow(kind, found):
    """The numbered steps of a table that grows: ratios ask for the first and the last, and one count holds for all."""
    steps = sorted(step for step in found if step.rsplit("-", 1)[0] == kind)
    if any(found[step] is None for step in steps):
        found.update(dict.fromkeys(steps))
    if steps:
        found[f"{kind}-first"], found[f"{kind}-last"] = found[steps[0]], found[steps[-1]]


def measure_case(name, engine, all_rows, folder, commit, arguments):
    case = CASES[name]
    say(f"{engine.name} {engine.version}: {name}, {case.about}")
    rows = all_rows.with_count(int(all_rows.count * case.share))
    context = Context(engine, rows, Path(folder) / "service", arguments.quick)
    rounds = arguments.rounds or min(3 if arguments.quick else 5, case.rounds_max)
    with context.beside:
        samples = run_case(name, context, rounds)
        beside = context.beside.described()
    report.write_case(name, case, engine, beside, samples, rows, commit, options(arguments), folder)
    report.write_summary()


def main():
    arguments = parse()
    if arguments.list:
        for name, case in sorted(CASES.items()):
            print(f"{name:16} {case.about}")
        return
    count = arguments.count or (600_000 if arguments.quick else 4_000_000)
    asked = list(dict.fromkeys(case_of(name) for name in arguments.case or []))
    names = asked or [name for name in CASES if CASES[name].in_quick or not arguments.quick]
    began = time.monotonic()
    # What runs now is measured, whatever is committed meanwhile.
    commit = report.commit()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    # Not /tmp, which is memory on many machines: what is durable there costs nothing.
    with tempfile.TemporaryDirectory(prefix="sluicegate-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        if report.file_system(folder) in ("tmpfs", "ramfs"):
            raise SystemExit(f"{folder} is in memory, where nothing is durable: set TMPDIR to a folder on a disk")
        all_rows = Rows(count, 100_000, folder)
        try:
            if arguments.against:
                return against.run(arguments, all_rows, folder, say)
            if arguments.scraped:
                return scraped.run(arguments, all_rows, folder, say)
            if arguments.secured:
                return security.run(arguments, all_rows, folder, say)
            for engine_name in arguments.engine or ["mysql", "mariadb"]:
                for server, names_of_server in servers_of(names, engine_name):
                    with Engine(engine_name, Path(folder) / engine_name, server) as engine:
                        for name in names_of_server:
                            measure_case(name, engine, all_rows, folder, commit, arguments)
        finally:
            stop_all()
    say(f"bench-results/ written after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
