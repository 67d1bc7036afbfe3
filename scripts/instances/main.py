#!/usr/bin/env python3
"""Two instances behind one database and HAProxy, ten generators, a rolling restart under load, and a kill.

    scripts/instances/main.py PROGRAMS [--engine mysql|mariadb] [--rate N] [--phase SECONDS]

PROGRAMS is the folder of sluicegate and sluicegen. Nothing may be lost, stored twice or altered, and no call of a producer
may fail for good.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from parts import ROOT, Fleet, Instance, Proxy, fail, until

sys.path.insert(0, str(ROOT / "scripts/bench"))
from engine import Engine  # noqa: E402

GENERATORS = 10


def parse():
    parser = argparse.ArgumentParser(prog="scripts/test-instances.sh", description=__doc__)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--engine", action="append", choices=["mysql", "mariadb"], help="only this engine")
    parser.add_argument("--rate", type=int, default=1_000, help="readings per second of each generator")
    parser.add_argument("--phase", type=float, default=5.0, help="seconds between one thing and the next")
    return parser.parse_args()


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def roll(instances, fleet, pause_s):
    """One after the other, as a rollout does; each begins when the one before is ready again."""
    for instance in instances:
        began = time.monotonic()
        instance.end()
        ended = time.monotonic()
        instance.start()
        others_s = fleet.all_go_on(f"after the restart of {instance.name}")
        say(f"  {instance.name} ended in {ended - began:.1f} s and was ready {time.monotonic() - ended - others_s:.1f} s later; all "
            f"generators went on within {others_s:.1f} s")
        time.sleep(pause_s)


def kill(instance, other, fleet, pause_s):
    """The streams of the one that is gone go on at the other, for it is not started again."""
    at_other = other.figure("sluicegate_grpc_open_calls")
    instance.kill()
    took_s = fleet.all_go_on(f"after {instance.name} was killed")
    now = until(f"all streams are at {other.name}",
                lambda: (open_now := other.figure("sluicegate_grpc_open_calls")) >= GENERATORS and open_now)
    say(f"  {instance.name} was killed; all generators went on within {took_s:.1f} s, and {other.name} has {now:.0f} streams "
        f"instead of {at_other:.0f}")
    time.sleep(pause_s)
    instance.start()


def reconcile(engine, schema, fleet, programs, rest):
    """The total adds up: sent = acknowledged = stored, and the journals find each reading as it was sent."""
    stats = fleet.stats()
    sent, acknowledged, failed = (int(stats[name]["total"]) for name in ("sent", "acknowledged", "failed"))
    stored = int(engine.sql("SELECT COUNT(*) FROM sensor_readings", schema))
    ledger = int(engine.sql("SELECT SUM(committed) FROM ingest_streams WHERE stream_id NOT LIKE 'lane:%'", schema))
    if not sent == acknowledged == stored == ledger or failed or int(stats["rejected"]["total"]):
        fail(f"sent {sent}, acknowledged {acknowledged}, stored {stored}, in the ledger {ledger}, failed {failed}, rejected "
             f"{stats['rejected']['total']}")
    journals = sorted(fleet.journals.glob("*.journal"))
    if len(journals) != GENERATORS:
        fail(f"{len(journals)} journals of {GENERATORS} generators")
    verify = [programs / "sluicegen", "verify", "--json", "--rest", rest, "--journal", *journals]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=600)
    found = json.loads(done.stdout or "{}")
    faults = {name: found.get(name) for name in ("lost", "unproven", "duplicated", "altered", "unexpected", "open")}
    if done.returncode != 0 or any(faults.values()) or found.get("acknowledged") != acknowledged:
        fail(f"sluicegen verify: {done.stdout}{done.stderr}")
    return sent, faults


def run(engine_name, arguments, folder):
    programs = arguments.programs.absolute()
    with Engine(engine_name, folder / engine_name) as engine:
        schema = engine.fresh_schema("partitioned")
        instances = [Instance(programs, name, engine.url(schema), folder) for name in ("north", "south")]
        proxy, fleet = Proxy(instances, folder), None
        try:
            for instance in instances:
                instance.start()
            proxy.start()
            fleet = Fleet(programs, folder, GENERATORS, proxy.grpc, arguments.rate)
            fleet.ask("start")
            fleet.all_go_on("at the start")
            time.sleep(arguments.phase)
            north, south = (int(instance.figure("sluicegate_grpc_open_calls")) for instance in instances)
            say(f"{engine_name} {engine.version}: {GENERATORS} generators at {arguments.rate}/s each; streams: north {north}, south "
                f"{south}")
            if min(north, south) < GENERATORS // 4:
                fail("the proxy does not spread them")
            roll(instances, fleet, arguments.phase)
            kill(*instances, fleet, arguments.phase)
            fleet.ask("stop")
            until("all is acknowledged", lambda: fleet.stats()["running"] == 0)
            sent, faults = reconcile(engine, schema, fleet, programs, proxy.rest)
            say(f"  sent, acknowledged and stored: {sent:,}; " + ", ".join(f"{name} {count}" for name, count in faults.items()))
        finally:
            if fleet:
                subprocess.run([*fleet.command, "down"], capture_output=True, timeout=120)
            for process in [proxy.process, *(instance.process for instance in instances)]:
                if process and process.poll() is None:
                    process.terminate()
                    process.wait(60)


def main():
    arguments = parse()
    for engine in arguments.engine or ["mariadb", "mysql"]:
        with tempfile.TemporaryDirectory(prefix="sluicegate-instances-") as folder:
            run(engine, arguments, Path(folder))
    say("nothing was lost, stored twice or altered, and no producer failed")


if __name__ == "__main__":
    main()
