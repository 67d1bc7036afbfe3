#!/usr/bin/env python3
"""Tries the stack of docker/compose.yaml out, from `up` to `down`. Called by test-docker.sh, which has what this needs.

    scripts/docker/main.py COMMIT COMPOSE...

COMMIT is what the images were built with, COMPOSE the command of compose. The environment says which images to take.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import alone
from stack import Stack, docker, expect, fail, get, get_any, inspect, run, say, until

ROOT = Path(__file__).resolve().parents[2]
OURS = ("sluicegate", "generator")
GENERATORS = 10
JOURNALLED = 800_000


def free_ports(count):
    """So many in a row, of which nobody has one."""
    for first in range(20_000, 60_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    fail("there are no free ports")


def environment(folder):
    """That of compose, whatever the caller's own says of another stack."""
    first = free_ports(60)
    ports = {"GRPC_PORT": first, "REST_PORT": first + 1, "PROMETHEUS_PORT": first + 2, "GRAFANA_PORT": first + 3}
    return {**os.environ, **{name: str(port) for name, port in ports.items()},
            "GENERATOR_PORTS": f"{first + 10}-{first + 59}", "COMPOSE_PROJECT_NAME": f"sluicegate-test-{os.getpid()}",
            "COMPOSE_FILE": str(folder / "compose.yaml"), "COMPOSE_PROFILES": "", "GENERATOR_RATE": "100"}


def crash(container):
    """Kills its process behind Docker's back, as a fault would; whether that was possible here."""
    pid = inspect(container)["State"]["Pid"]
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except (PermissionError, ProcessLookupError):
        docker("kill", container)
        return False


def check_gate(stack):
    """A wrong setting keeps the stack from starting, and is named; the service is not started again and again."""
    settings = stack.folder / "sluicegate.env"
    right = settings.read_text()
    settings.write_text(right + "SLUICEGATE_INGEST_LANES=0\n")
    done = stack.compose("up", "-d", "--no-build", check=False)
    expect(done.returncode != 0, "the stack starts with a wrong setting")
    about = inspect(stack.container("settings"))
    log = stack.log("settings").strip()
    expect(about["State"]["ExitCode"] == 2 and about["RestartCount"] == 0, f"settings: {json.dumps(about['State'])}")
    expect(len(log.splitlines()) == 1 and "ingest.lanes is 0" in log, f"settings: not one sentence: {log}")
    for service in stack.containers("sluicegate"):
        state = inspect(service)["State"]
        expect(state["Status"] == "created", f"the service was started all the same: {json.dumps(state)}")
    settings.write_text(right)
    say(f"compose up with a wrong setting ends with {done.returncode}, and `logs settings` says: {log}")


def check_up(stack, commit):
    """The stack with its settings mended."""
    stack.compose("up", "-d", "--no-build")
    for service in ("mysql", *OURS):
        stack.until_health(service, "healthy")
    published = []
    for service in ("mysql", *OURS):
        about = inspect(stack.container(service))
        for port, bindings in (about["NetworkSettings"]["Ports"] or {}).items():
            published += [(service, port, binding["HostIp"]) for binding in bindings or []]
    expect(len(published) == 3 and all(address == "127.0.0.1" for *_, address in published), f"published: {published}")
    for service in OURS:
        check_hardened(service, stack.container(service))
    stack.own_token = stack.token("ingest,read")
    expect(stack.own_token.startswith("sg_"), f"no token: {stack.own_token}")
    page = stack.ask("/metrics")
    expect(f'commit="{commit}"' in page, "sluicegate_build_info does not name the commit")
    status, problem = get_any(f"{stack.rest}/sensor/time?from_time=0&to_time=1", stack.trust())
    expect(status == 401, f"without a token REST answers {status}: {problem}")
    durability = stack.readiness()["storage"]["durability"]
    expect(durability == "full", f"durability is {durability} with docker/mysql.cnf")
    say("MySQL, the service and a generator are up and healthy; ports on 127.0.0.1 alone, with TLS and tokens; build_info has the "
        "commit; durability is full")


def check_hardened(service, container):
    host = inspect(container)["HostConfig"]
    expect(host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], f"{service}: {host['ReadonlyRootfs']} {host['CapDrop']}")
    with tempfile.NamedTemporaryFile() as file:
        done = run("docker", "cp", file.name, f"{container}:/planted", check=False)
    expect(done.returncode != 0 and "read-only" in done.stderr, f"{service}: its file system is not read-only: {done.stderr}")
    try:
        status = Path(f"/proc/{inspect(container)['State']['Pid']}/status").read_text()
    except OSError:
        say(f"{service}: its process cannot be looked at from here")
        return
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    expect(lines["Uid"].split() == ["65532"] * 4, f"{service} runs as {lines['Uid']}")
    expect(int(lines["CapEff"], 16) == 0 and lines["NoNewPrivs"] == "1", f"{service} may do more than it needs: {status}")


def check_scale(stack):
    """scripts/scale.sh, and what all generators sent is what is stored."""
    done = run(ROOT / "scripts/scale.sh", GENERATORS - 1, env=stack.environment, cwd=ROOT)
    expect(f"{GENERATORS} of {GENERATORS} run" in done.stdout, f"scale.sh: {done.stdout}{done.stderr}")
    stack.fleet("frequency", "--rate", "500")
    before = stack.figures()["acknowledged"]["total"]
    until("the fleet gets on", lambda: stack.figures()["acknowledged"]["total"] > before + 30_000)
    figures = stack.figures()
    expect(figures["answered"] == figures["running"] == GENERATORS, f"{figures}")
    for name in ("rate", "requests", "sent", "acknowledged", "uptime_s"):
        spread = figures[name]
        expect(0 < spread["min"] <= spread["avg"] <= spread["max"] <= spread["total"], f"{name}: {spread}")
        expect(abs(spread["avg"] * GENERATORS - spread["total"]) < 0.01 * spread["total"], f"{name}: {spread}")
    stack.fleet("stop")
    print(stack.fleet("stats").stdout, flush=True)
    figures = stack.figures()
    total = {name: int(figures[name]["total"]) for name in ("sent", "acknowledged", "rejected", "failed")}
    books, stored = stack.books(), stack.stored()
    expect(total["failed"] == total["rejected"] == 0, f"{total}")
    expect(total["sent"] == total["acknowledged"] == books["committed"] == stored, f"{total}, {books}, {stored} rows")
    say(f"{GENERATORS} generators: sent {total['sent']} = acknowledged = committed in the books = rows in the table")
    return stored


def check_kills(stack, journal, stored):
    """Everything is killed under load, and nothing is lost or stored twice."""
    stack.fleet("start")
    name = f"{stack.project}-journal"
    stack.generator("run", "--target", "https://sluicegate:50051", "--mode", "stream-acked", "--id1", "900", "--id2", "journal",
                    "--rate", "20000", "--count", str(JOURNALLED), "--give-up-after", "none", "--journal", "/journal/run.journal",
                    "--json", volume=journal, name=name)
    try:
        until("the journal has begun", lambda: (journal / "run.journal").stat().st_size > 0)
        for service in ("sluicegate", "mysql", "sluicegate"):
            check_restart(stack, service)
        service = stack.container("sluicegate")
        stack.compose("stop", "sluicegate")
        state = inspect(service)["State"]
        expect(state["ExitCode"] == 0, f"told to stop, the service ended with {state}")
        stack.compose("start", "sluicegate")
        stack.until_health("sluicegate", "healthy")
        say("the service was told to stop, ended with 0, and was started again")
        until("the run with a journal ends", lambda: inspect(name)["State"]["Status"] == "exited")
        report, problems = run("docker", "logs", name), inspect(name)["State"]["ExitCode"]
    finally:
        docker("rm", "--force", name)
    expect(problems == 0, f"the run with a journal: {report.stdout}{report.stderr}")
    report = json.loads(report.stdout)
    check_all_get_on(stack)
    stack.fleet("stop")
    figures = stack.figures()
    total = {name: int(figures[name]["total"]) for name in ("sent", "acknowledged", "failed")}
    expect(total["failed"] == 0 and total["sent"] == total["acknowledged"], f"{total}")
    expect(report["sent"] == JOURNALLED and report["failed"] == 0, f"{report}")
    for source in (["--rest", "https://sluicegate:8080"], ["--database-insecure", "--database-url", "mysql://sluicegate:sluicegate@mysql:3306/sluicegate"]):
        done = stack.generator("verify", "--journal", "/journal/run.journal", *source, "--json", volume=journal)
        verdict = json.loads(done.stdout)
        expect(verdict["complete"] and verdict["found"] == verdict["acknowledged"] == JOURNALLED, f"verify {source[0]}: {verdict}")
    stack.books()
    now = stack.stored()
    expect(now == stored + total["acknowledged"] + JOURNALLED, f"{now} rows: {stored} + {total} + {JOURNALLED}")
    say(f"{report['reconnects']} reconnects later: {JOURNALLED} of the journal are there once, by REST and by SQL, and "
        f"{total['sent']} of the fleet; {now} rows are all that was acknowledged, and no more")


def check_all_get_on(stack):
    """Each generator of the fleet has its readings stored again."""
    before = {one["endpoint"]: one["acknowledged"] for one in stack.figures()["generators"]}

    def all_do():
        now = stack.figures()["generators"]
        return len(now) == GENERATORS and all(one["acknowledged"] > before.get(one["endpoint"], 0) for one in now)
    until("every generator gets on", all_do, lambda: stack.fleet("stats").stdout)


def check_restart(stack, service):
    container = stack.container(service)
    before = inspect(container)
    by_policy = crash(container)
    if not by_policy:
        docker("start", container)

    def is_back():
        about = inspect(container)
        return about["State"]["StartedAt"] != before["State"]["StartedAt"] and about["State"]["Running"]
    until(f"{service} is started again", is_back)
    stack.until_health(service, "healthy")
    stack.until_health("sluicegate", "healthy")
    who = "Docker started it again" if by_policy else "it was started again by hand"
    say(f"{service} was killed under load; {who}, and it is healthy")


def check_generator_killed(stack):
    """A generator that ends is not started again in silence, and the fleet goes on without it."""
    victim = stack.containers("generator")[-1]
    crash(victim)
    until("it has ended", lambda: inspect(victim)["State"]["Status"] == "exited")
    state = inspect(victim)["State"]
    expect(state["ExitCode"] == 137, f"the generator: {json.dumps(state)}")
    answered = stack.figures()["answered"]
    expect(answered == GENERATORS - 1, f"{answered} generators answer")
    stack.compose("up", "-d", "--no-build", "--no-recreate", "--scale", f"generator={GENERATORS}", "generator")
    until("all are back", lambda: stack.figures()["answered"] == GENERATORS)
    say(f"a generator was killed: it stays ended (137), {answered} went on; `up` brought it back")
    # The others were stopped before, and say so.
    stack.fleet("stop", check=False)


def check_database_away(stack):
    """The service waits for its database: not healthy, for a reason, and never restarted because of it."""
    service = stack.container("sluicegate")
    starts = inspect(service)["RestartCount"]
    stack.compose("stop", "mysql")
    stack.until_health("sluicegate", "unhealthy")
    about = inspect(service)
    reason = about["State"]["Health"]["Log"][-1]["Output"].strip()
    expect("is not ready: " in reason, f"its health check says {reason!r}")
    docker("exec", service, "/sluicegate", "healthcheck", "--live")
    stack.compose("start", "mysql")
    stack.until_health("sluicegate", "healthy")
    about = inspect(service)
    expect(about["RestartCount"] == starts and about["State"]["Running"], "the service was restarted because of its database")
    say(f"without its database the service is unhealthy, alive, and not restarted: {reason}")


def check_observed(stack):
    images = {name: stack.environment[f"{name.upper()}_IMAGE"] for name in ("prometheus", "grafana")}
    services = [name for name, image in images.items() if image]
    if not services:
        say("neither Prometheus nor Grafana is here: the profile `observe` is NOT tried out")
        return
    stack.compose("--profile", "observe", "up", "-d", "--no-build", *services)
    if "prometheus" in services:
        base = f"http://127.0.0.1:{stack.environment['PROMETHEUS_PORT']}/api/v1"

        def answer(path):
            return json.loads(get(f"{base}/{path}"))["data"]
        until("Prometheus scrapes the service", lambda: answer("query?query=up{job='sluicegate'}==1".replace("'", "%22"))["result"])
        generators = len(stack.containers("generator"))
        until(f"Prometheus scrapes {generators} generators", lambda: [
            each["value"][1] for each in answer("query?query=count(up{job='sluicegen'}==1)".replace("'", "%22"))["result"]
        ] == [str(generators)])
        rules = [rule for group in answer("rules")["groups"] for rule in group["rules"]]
        expect(len(rules) > 10, f"Prometheus has {len(rules)} rules")
        say(f"Prometheus scrapes the service and {generators} generators, and has {len(rules)} rules")
    if "grafana" in services:
        base = f"http://admin:sluicegate@127.0.0.1:{stack.environment['GRAFANA_PORT']}/api"
        until("Grafana answers", lambda: json.loads(get(f"{base.replace('admin:sluicegate@', '')}/health")))
        found = json.loads(run("curl", "-fsS", f"{base}/search?type=dash-db").stdout)
        expect(len(found) >= 2, f"Grafana has {found}")
        say(f"Grafana has {len(found)} dashboards")
    else:
        say("no image of Grafana can be had here: it is NOT tried out")


def check_down(stack):
    stack.compose("--profile", "observe", "down", "--volumes", "--remove-orphans")
    label = f"label=com.docker.compose.project={stack.project}"
    left = {"containers": docker("ps", "--all", "--quiet", "--filter", label),
            "volumes": docker("volume", "ls", "--quiet", "--filter", label),
            "networks": docker("network", "ls", "--quiet", "--filter", label)}
    expect(not any(left.values()), f"`down` leaves {left}")
    say("down, and nothing is left")


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    commit, *compose = sys.argv[1:]
    tag = os.environ["TAG"]
    alone.check(tag, commit)
    with tempfile.TemporaryDirectory(prefix="sluicegate-compose-") as work:
        work = Path(work)
        # The containers' users read the one and write to the other.
        work.chmod(0o755)
        shutil.copytree(ROOT / "docker", work / "docker")
        journal = work / "journal"
        journal.mkdir()
        journal.chmod(0o777)
        stack = Stack(compose, work / "docker", environment(work / "docker"))
        try:
            check_gate(stack)
            check_up(stack, commit)
            stored = check_scale(stack)
            check_kills(stack, journal, stored)
            check_generator_killed(stack)
            check_database_away(stack)
            check_observed(stack)
            check_down(stack)
        except BaseException:
            for service in ("mysql", "settings", *OURS):
                for container in stack.containers(service)[:1]:
                    subprocess.run(["docker", "logs", "--tail", "30", container], stdout=sys.stderr)
            raise
        finally:
            stack.compose("--profile", "observe", "down", "--volumes", "--remove-orphans", check=False)


if __name__ == "__main__":
    main()
