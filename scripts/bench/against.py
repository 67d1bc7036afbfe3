"""Measures the present code and a commit in alternating pairs, so that both meet the machine's mood: what counts is the
ratio within a pair."""

import json
import statistics
import time
from pathlib import Path

import builds
import report
import schema
from context import Context
from engine import Engine
from plan import CASES, case_of, compared_steps, servers_of
from process import Unbalanced

PAIRS = {"quick": 4, "full": 10}
# Figure, and its name for people. Of the first more is better, of the others less.
FIGURES = {
    "rows_per_s": "readings per second",
    "service_cpu_us": "service CPU per reading, us",
    "database_cpu_us": "database CPU per reading, us",
    "service_peak_rss_mib": "service memory at most, MiB",
}
DEFAULT_CASES = ["stream-columns", "stream-rows"]


def asked_steps(names):
    """Case to the steps of it that are compared."""
    steps = {}
    for name in names or DEFAULT_CASES:
        found = compared_steps(name)
        if not found:
            raise SystemExit(f"--against: {name} has no step whose rate is compared; there are: "
                             + ", ".join(case for case in CASES if CASES[case].compared))
        steps[case_of(name)] = list(dict.fromkeys([*steps.get(case_of(name), []), *found]))
    return steps


def measure_once(build, name, step, context, say):
    """One sample, or None where the books do not balance."""
    with builds.measuring(build):
        try:
            return CASES[name].steps(context)[step]()
        except Unbalanced as reason:
            say(f"  {build.commit[:12]}: NO FIGURE, {reason}")
            return None


def measure_pairs(old, new, name, step, context, pairs, say):
    """Both builds by turns; who begins changes from pair to pair."""
    found = []
    for number in range(1, pairs + 1):
        pair = {}
        for build in (old, new) if number % 2 else (new, old):
            pair[build] = measure_once(build, name, step, context, say)
        found.append({"old": pair[old], "new": pair[new]})
        if all(pair.values()):
            rates = pair[new]["rows_per_s"], pair[old]["rows_per_s"]
            say(f"  pair {number}: {rates[0]:,.0f}/s, was {rates[1]:,.0f}/s: {rates[0] / rates[1]:.3f}")
    return found


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def summarise(samples):
    """Figure to its median before and now, and how the ratios of the pairs are spread."""
    whole = [pair for pair in samples if all(pair.values())]
    result = {}
    for name in FIGURES:
        pairs = [(pair["old"][name], pair["new"][name]) for pair in whole if pair["old"].get(name)]
        if not pairs:
            continue
        ratios = [new / old for old, new in pairs]
        low, high = quartiles(ratios)
        result[name] = {
            "old": statistics.median(old for old, _ in pairs),
            "new": statistics.median(new for _, new in pairs),
            "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios),
                      "quartile_low": low, "quartile_high": high, "pairs": len(ratios)},
        }
    return result


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show(engine, step, figures, pairs, say):
    say(f"{engine.name} {engine.version}: {step}")
    for name, found in figures.items():
        ratio = found["ratio"]
        print(f"    {FIGURES[name]:30} {number(found['new']):>9}, was {number(found['old']):>9}: ratio "
              f"{ratio['median']:.3f} ({ratio['quartile_low']:.3f} to {ratio['quartile_high']:.3f} in the middle half, "
              f"{ratio['min']:.3f} to {ratio['max']:.3f} in all), {ratio['pairs']} of {pairs} pairs", flush=True)


def run(arguments, rows, folder, say):
    """Compares, prints, and writes the results where that was asked for."""
    commit = builds.commit_of(arguments.against)
    steps = asked_steps(arguments.case)
    new = builds.present(Path(folder) / "present", report.commit())
    old = builds.of_commit(commit, say)
    pairs = arguments.rounds or PAIRS["quick" if arguments.quick else "full"]
    results = {"old": old.commit, "new": new.commit, "machine": report.machine(), "measured_at": report.now(), "engines": {}}
    for engine_name in arguments.engine or ["mysql", "mariadb"]:
        of_engine = results["engines"][engine_name] = {"version": "", "steps": {}}
        for server, names in servers_of(steps, engine_name):
            with Engine(engine_name, Path(folder) / engine_name, server) as engine:
                of_engine["version"] = engine.version
                for name in names:
                    of_case = rows.with_count(int(rows.count * CASES[name].share))
                    context = Context(engine, of_case, Path(folder) / "service", arguments.quick)
                    for step in steps[name]:
                        say(f"{engine.name} {engine.version}: {step}, {pairs} pairs beside {commit[:12]}")
                        samples = measure_pairs(old, new, name, step, context, pairs, say)
                        figures = summarise(samples)
                        show(engine, step, figures, pairs, say)
                        of_engine["steps"][step] = {"readings": of_case.count, "figures": figures, "samples": samples}
    if arguments.write:
        schema.check(results, schema.AGAINST, "against.json")
        (report.RESULTS / "against.json").write_text(json.dumps(results, indent=2) + "\n")
        report.write_summary()
        say("bench-results/against.json written")
    if not all(step["figures"] for engine in results["engines"].values() for step in engine["steps"].values()):
        raise SystemExit("a step has no pair whose books balance")
