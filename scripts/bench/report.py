"""Writes what was measured: a file for each case, a summary on top, and a table."""

import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import chart
import schema
from builds import ROOT

RESULTS = ROOT / "bench-results"


def figure(sample, name):
    """`ack_ms.p99` of a nested sample."""
    for part in name.split("."):
        sample = sample[part]
    return sample


def brief(sample):
    parts = []
    for key, value in sample.items():
        if isinstance(value, float):
            parts.append(f"{key} {value:,.0f}" if value >= 100 else f"{key} {value:.3g}")
        elif isinstance(value, dict):
            parts.append(f"{key} " + " ".join(f"{name} {number:.3g}" for name, number in value.items()))
    return ", ".join(parts)


def file_system(folder):
    """Its type: databases write there."""
    return subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory / 2**20, 1), "kernel": platform.release()}


def now():
    """UTC, RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def commit():
    """Of what is measured, and of what measures."""
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
    dirty = subprocess.run(["git", "-C", ROOT, "status", "--porcelain", "--", "service", "proto", "generator", "sql",
                            "scripts", "Cargo.toml", "Cargo.lock"], capture_output=True, text=True)
    return done.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def figures_of(case, samples):
    """Every figure of the case that could be measured, as median and spread over the rounds."""
    found = {}
    for step, baseline, key, *of in case.ratios:
        name = of[0] if of else "rows_per_s"
        # Round by round: what the machine did in the meantime hit both.
        pairs = [pair for pair in zip(samples.get(step, []), samples.get(baseline, [])) if all(pair)]
        if pairs:
            found[key] = spread([figure(one, name) / figure(other, name) for one, other in pairs])
    for step, name, key in case.figures:
        values = [figure(sample, name) for sample in samples.get(step, []) if sample]
        values = [value for value in values if value is not None]
        if values:
            found[key] = spread(values)
    return found


def write_case(name, case, engine, beside, samples, rows, commit, options, folder):
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {"case": name, "engines": {}}
    known["about"] = case.about
    known["engines"][engine.name] = {
        "commit": commit,
        "measured_at": now(),
        "command": f"scripts/bench.sh --case {name} --engine {engine.name} {options}".strip(),
        "machine": {**machine(), "file_system": file_system(folder)},
        "version": engine.version,
        "settings": engine.settings,
        **({"beside": beside} if beside else {}),
        "readings": rows.count,
        "series": rows.series,
        "figures": figures_of(case, samples),
        "samples": samples,
    }
    schema.check(known, schema.CASE, path.name)
    path.write_text(json.dumps(known, indent=2) + "\n")


def write_summary():
    """Gathers the medians of every case that was ever measured here."""
    summary = {"commit": commit(), "machine": machine(), "mysql": {}, "mariadb": {}}
    measured = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    measured = [case for case in measured if "engines" in case and "case" in case]
    for case in measured:
        for engine, result in case["engines"].items():
            for key, value in result["figures"].items():
                summary[engine][key] = round(value["median"], 4)
    schema.check(summary, schema.SUMMARY, "summary.json")
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    write_charts(summary, measured)
    write_table(measured)


# What the charts show: (figure, label), from the slowest way to the fastest.
THROUGHPUT = [
    ("insert-row.rows_per_s", "INSERT per reading, 64 connections, seed"),
    ("unary.rows_per_s", "Sluicegate, unary, 64 callers, seed"),
    ("insert-multi.rows_per_s", "INSERTs of 1,000 readings, seed"),
    ("batch-1000.rows_per_s", "Sluicegate, batches of 1,000"),
    ("seed-file-load.rows_per_s", "LOAD DATA from files, seed"),
    ("file-load.rows_per_s", "LOAD DATA from files, partitioned"),
    ("stream-acked.rows_per_s", "Sluicegate, acknowledged stream"),
    ("stream-rows.rows_per_s", "Sluicegate, stream of rows"),
    ("stream-columns.rows_per_s", "Sluicegate, stream of columns"),
]


def growth_figures(measured):
    """The figures of a table that grows, labelled with the readings that are there already."""
    growth = next((case["engines"].values() for case in measured if case["case"] == "growth"), ())
    sizes = [sample["readings"] / 1e6 for engine in growth for sample in engine["samples"]["growth-1"]
             if sample and "readings" in sample]
    size = max(sizes, default=5)
    return [(f"growth.{kind}{step}.rows_per_s", f"{label}, {step * size - size:g} to {step * size:g} M")
            for kind, label in (("seed-", "LOAD DATA, seed"), ("", "Sluicegate, partitioned"), ("series-", "Sluicegate, series"))
            for step in range(1, 7)]


def write_charts(summary, measured):
    charts = [("throughput", "Readings per second, durable", THROUGHPUT),
              ("growth", "Readings per second as the table grows", growth_figures(measured))]
    for name, title, figures in charts:
        rows = []
        for key, label in figures:
            values = {engine: summary[engine][key] for engine in ("mysql", "mariadb") if key in summary[engine]}
            if values:
                rows.append((label, values))
        path = RESULTS / f"{name}.svg"
        if rows:
            path.write_text(chart.bars(title, rows))
        else:
            path.unlink(missing_ok=True)


def write_table(measured):
    lines = [
        "# Benchmark results",
        "",
        "Written by `scripts/bench.sh`; not edited by hand. Each figure is the median of its rounds, with the smallest and",
        "the largest in brackets. `a/b` is the rate of `a` over that of `b`, or the time where `_ms` is behind it; both ran in",
        "turns and are compared round by round. Rates of different cases are from different times, and compare less well. Every",
        "sample, the machine, and the settings of the database server stand in the file of each case.",
        "",
        *[f"![{path.stem}]({path.name})" for path in sorted(RESULTS.glob("*.svg"))],
    ]
    for case in measured:
        lines += ["", *case_section(case)]
    lines += ["", *schema.section()]
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n")


def case_section(case):
    engines = [engine for engine in chart.NAMES if engine in case["engines"]]
    results = [case["engines"][engine] for engine in engines]
    about = case["about"][0].upper() + case["about"][1:]
    lines = [f"## {case['case']}", "", f"{about}."]
    lines.append("")
    for engine, result in zip(engines, results):
        lines += [f"- {chart.NAMES[engine]} {result['version']}: {readings_of(result)}at {result['measured_at']}, commit {result['commit'][:12]}"
                      f"{'+changes' * result['commit'].endswith('+changes')}{beside_it(result)}:", f"  `{result['command']}`"]
    lines += ["", "| figure | " + " | ".join(chart.NAMES[engine] for engine in engines) + " |", "|---" * (len(engines) + 1) + "|"]
    for key in dict.fromkeys(key for result in results for key in result["figures"]):
        lines.append(f"| `{key}` | " + " | ".join(cell(result["figures"].get(key)) for result in results) + " |")
    return lines


def beside_it(result):
    """The other servers of a case, and a comma before them."""
    others = [f"{name} {other['version']}" for name, other in result.get("beside", {}).items()]
    return ", beside " + " and ".join(others) if others else ""


def readings_of(result):
    """How many readings a round stored, by step where that differs, and a comma behind it."""
    steps = {}
    for step, samples in result["samples"].items():
        one = next((sample for sample in samples if sample and "readings" in sample), None)
        if one and not step.endswith(("-first", "-last")):
            steps.setdefault((one["readings"], one["series"]), []).append(step)
    def text(readings, series, of):
        return f"{readings:,} readings of {series:,} series" + (f" ({', '.join(of)})" if len(steps) > 1 else "")
    return "".join(text(*size, of) + ", " for size, of in steps.items())


def cell(value):
    if value is None:
        return "none"
    def text(number):
        return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
    if value["rounds"] == 1:
        return f"{text(value['median'])} (1 round)"
    return f"{text(value['median'])} ({text(value['min'])} to {text(value['max'])}, {value['rounds']} rounds)"
