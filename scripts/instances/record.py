#!/usr/bin/env python3
"""Records what one instance needs at one load after the other: what an autoscaler would be told of it.

    scripts/instances/record.py PROGRAMS [--phase SECONDS]

Writes bench-results/autoscaler.json, which scripts/autoscaler.py reads.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from parts import ROOT, Instance

sys.path.insert(0, str(ROOT / "scripts/bench"))
from engine import Engine  # noqa: E402

EVERY_S = 5
# Readings per second, and how many connections bring them; None is as many as go.
PHASES = [(0, 1), (10_000, 2), (20_000, 2), (40_000, 4), (60_000, 4), (None, 8)]


def sample(instance):
    return {
        "cpu_s": instance.figure("process_cpu_seconds_total"),
        "in_flight_bytes": instance.figure("sluicegate_in_flight_bytes"),
        "committed": instance.figure("sluicegate_readings_committed_total"),
        "loading_s": instance.figures("sluicegate_lane_loading_seconds_total"),
    }


def record(instance, programs, phase_s):
    """Samples of all phases: CPU in cores and the share of the time that the busiest lane loads, since the sample before, and
    the part of the budget that is in use."""
    budget_bytes = next(float(line.rsplit(" ", 1)[1]) for line in instance.metrics().splitlines()
                        if line.startswith('sluicegate_limit{setting="ingest.budget_bytes"}'))
    found, before, began = [], sample(instance), time.monotonic()
    last_s = 0.0
    for rate, connections in PHASES:
        load = None
        if rate != 0:
            load = subprocess.Popen(
                [programs / "sluicegen", "run", "--target", f"http://127.0.0.1:{instance.grpc_port}", "--duration", f"{phase_s}s",
                 "--rate", str(rate or "max"), "--connections", str(connections),
                 # Little stands in the queue of the generator, so that the phase ends in time.
                 "--unacknowledged-bytes", str(2 << 20), "--json"], stdout=subprocess.DEVNULL)
        end = time.monotonic() + phase_s
        while time.monotonic() < end or (load and load.poll() is None):
            time.sleep(EVERY_S)
            now, now_s = sample(instance), time.monotonic() - began
            span_s = now_s - last_s
            busy = max(now["loading_s"][lane] - before["loading_s"][lane] for lane in now["loading_s"]) / span_s
            found.append({"at_s": round(now_s, 1), "offered_per_s": rate, "lane_busy": round(min(busy, 1.0), 4), "cpu_cores": round((now["cpu_s"] - before["cpu_s"]) / span_s, 4),
                          "budget_used": round(now["in_flight_bytes"] / budget_bytes, 4),
                          "committed_per_s": round((now["committed"] - before["committed"]) / span_s)})
            print(found[-1], flush=True)
            before, last_s = now, now_s
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--phase", type=int, default=60)
    arguments = parser.parse_args()
    programs = arguments.programs.absolute()
    with tempfile.TemporaryDirectory(prefix="sluicegate-record-", dir="/var/tmp") as folder, \
            Engine("mariadb", Path(folder) / "mariadb") as engine:
        instance = Instance(programs, "recorded", engine.url(engine.fresh_schema("partitioned")), Path(folder))
        instance.start()
        try:
            samples = record(instance, programs, arguments.phase)
        finally:
            instance.end()
        result = {"engine": f"mariadb {engine.version}", "phase_s": arguments.phase,
                  "phases": [{"readings_per_s": rate, "connections": connections} for rate, connections in PHASES],
                  "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "samples": samples}
    (ROOT / "bench-results/autoscaler.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
