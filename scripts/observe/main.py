#!/usr/bin/env python3
"""Holds rules and dashboards to the papers, to a real Prometheus that has scraped a real service and a generator, and to its
database; and lets the database stand still, to see alerts come and go.

    scripts/observe/main.py PROGRAMS PROMETHEUS

PROGRAMS is the folder of sluicegate and sluicegen, PROMETHEUS that of prometheus and promtool.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dashboards
import illness
from server import WAIT_S, Prometheus, fail, free_port, get, post

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docker/prometheus"
# Not there in a service that is well and has just been started: no limit, or nothing to tell yet.
# The second one only with tls.cert.
MAY_BE_ABSENT = {"process_max_fds", "sluicegate_tls_certificate_days_left"}
# One of 1969, before `ingest.earliest`: it is rejected.
BAD = "timestamp,id1,id2,sensor_type,sensor_value\n1969-07-20T20:17:40Z,1,moon,temperature,1\n"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{Path(command[0]).name} {' '.join(map(str, command[1:]))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def table():
    """The figures that docs/metrics.md names, of the service and of generators: name to type."""
    text = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", text, re.MULTILINE)
    if len(rows) < 60:
        fail(f"docs/metrics.md has a table of {len(rows)} figures only")
    return dict(rows)


def samples(figures):
    """The names of their samples."""
    return {name + suffix for name, kind in figures.items()
            for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))}


def check_papers(figures):
    """Each alert has its entry and the other way round, and rules ask for nothing that is not there."""
    alerts_text = (RULES / "alerts.yml").read_text()
    alerts = re.findall(r"^ +- alert: (\w+)$", alerts_text, re.MULTILINE)
    runbooks = re.findall(r"^ +runbook: docs/alerts.md#(\w+)$", alerts_text, re.MULTILINE)
    entries = re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE)
    if not alerts or [name.lower() for name in alerts] != runbooks or alerts != entries:
        fail(f"alerts, their runbooks and the entries of docs/alerts.md differ:\n{alerts}\n{runbooks}\n{entries}")
    records_text = (RULES / "records.yml").read_text()
    tested = set(re.findall(r"alertname: (\w+)", (RULES / "alerts.test.yml").read_text()))
    if missing := set(alerts) - tested:
        fail(f"alerts.test.yml does not try {sorted(missing)}")
    text = "\n".join([alerts_text, records_text, (ROOT / "docs/alerts.md").read_text()])
    # What rules record has colons in its name.
    asked = set(re.findall(r"(?<![\w:])(?:sluicegate|sluicegen|process)_\w+(?![\w:])", text))
    known = samples(figures) | set(figures)
    if unknown := asked - known:
        fail(f"rules or docs/alerts.md ask for {sorted(unknown)}, which docs/metrics.md does not have")
    return re.findall(r"^ +- record: (\S+)$", records_text, re.MULTILINE)


def configuration(folder, service, generator):
    """That of docker/, with other targets, and in a hurry. Its rules are copies."""
    rules = shutil.copytree(RULES, folder / "rules")
    # There is no name server here that knows it.
    by_name = "dns_sd_configs:\n      - names: [generator]\n        type: A\n        port: 9000\n        refresh_interval: 15s\n"
    by_address = f"static_configs:\n      - targets: ['{generator}']\n"
    text = (ROOT / "docker/prometheus.yml").read_text()
    # What runs here speaks no TLS.
    in_tls = "scheme: https\n    tls_config:\n      ca_file: /credentials/ca.pem\n"
    for before, after in [("- sluicegate:8080", f"- {service}"), (by_name, by_address), (in_tls, "scheme: http\n"),
                          ("scrape_interval: 5s", "scrape_interval: 1s"),
                          ("evaluation_interval: 15s", "evaluation_interval: 1s"), ("- prometheus/", f"- {rules}/")]:
        if before not in text:
            fail(f"docker/prometheus.yml has no {before!r}")
        text = text.replace(before, after)
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


def start(folder, name, running, *command):
    """Starts a program of ours, and returns the addresses of its ready file."""
    ready, log = folder / f"{name}.json", folder / f"{name}.log"
    with open(log, "wb") as writer:
        running.append(subprocess.Popen([*command, "--ready-file", ready], stdout=writer, stderr=writer))
    for _ in range(WAIT_S * 4):
        if ready.exists() or running[-1].poll() is not None:
            break
        time.sleep(0.25)
    if not ready.exists():
        fail(f"{name} did not start: {log.read_text()}")
    return json.loads(ready.read_text())


def check_service(programs, prometheus, folder, figures, records, running):
    """A service that is used, and what Prometheus finds there."""
    # A source that is paused has its figures, too.
    settings = folder / "sluicegate.yaml"
    settings.write_text("sources: [{name: plant, paused: true, optional: true, protobuf: ColumnBatch, "
                        "kafka: {brokers: ['127.0.0.1:1'], topics: [readings]}}]\n")
    addresses = start(folder, "service", running, programs / "sluicegate", "serve", f"--config={settings}",
                      f"--embedded-db={folder / 'database'}", "--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0")
    service = running[-1]
    generator = start(folder, "generator", running, programs / "sluicegen", "serve", "--addr", "127.0.0.1:0", "--target",
                      f"http://{addresses['grpc_addr']}", "--rate", "100")["rest_addr"]
    port, log = free_port(), open(folder / "prometheus.log", "wb")
    running.append(subprocess.Popen(
        [prometheus / "prometheus", f"--config.file={configuration(folder, addresses['rest_addr'], generator)}",
         f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log))
    prometheus_process = running[-1]
    page = get(f"http://{addresses['rest_addr']}/metrics")
    lint = subprocess.run([prometheus / "promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    if lint.returncode != 0:
        fail(f"promtool check metrics:\n{lint.stdout}{lint.stderr}")
    server = Prometheus(port)
    for job in ("sluicegate", "sluicegen"):
        server.until(f"Prometheus scrapes {job}", lambda: server.has(f'up{{job="{job}"}} == 1'))
    # One after the other, so that each is there in more than one scrape.
    for mode, count in (("stream", 200_000), ("stream-acked", 200_000), ("batch", 20_000), ("unary", 2_000)):
        run(programs / "sluicegen", "run", "--target", f"http://{addresses['grpc_addr']}", "--mode", mode, "--count", str(count),
            "--json")
    bad = folder / "bad.csv"
    bad.write_text(BAD)
    replay = [programs / "sluicegen", "replay", bad, "--target", f"http://{addresses['grpc_addr']}", "--stream-id", "bad"]
    done = subprocess.run([*replay, "--json"], capture_output=True, text=True)
    if json.loads(done.stdout or "{}").get("rejected") != 1:
        fail(f"the reading of 1969 was not rejected: {done.stdout}{done.stderr}")
    get(f"http://{addresses['rest_addr']}/sensor/latest?id1=1&id2=none")
    committed = "sum(sluicegate_readings_committed_total)"
    server.until("all readings are counted", lambda: server.has(f"{committed} == 422000"))
    post(f"http://{generator}/start")
    for name in sorted(samples(figures) - MAY_BE_ABSENT):
        server.until(f"{name} is there", lambda: server.has(name))
    for name in records:
        # Of what does not happen here there is nothing to record.
        if "grpc_failures" not in name:
            server.until(f"{name} has data", lambda: server.has(name))
    acknowledged = "sum(sluicegen_readings_acknowledged_total)"
    server.until("the generator is told of what is stored", lambda: server.has(f"{acknowledged} > 100"))
    rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
    if bad := [rule for rule in rules if rule["health"] != "ok"]:
        fail(f"rules that cannot be evaluated: {bad}")
    if firing := [rule["name"] for rule in rules if rule.get("state", "inactive") == "firing"]:
        fail(f"alerts at a service that is well: {firing}")
    asked = dashboards.check_figures(server)
    asked += dashboards.check_sql(folder / "database" / "client.cnf")
    illness.check(server, prometheus_process, service, folder / "rules")
    return len(rules), asked


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    programs, prometheus = (Path(argument).absolute() for argument in sys.argv[1:])
    figures = table()
    records = check_papers(figures)
    dashboards.check_shape()
    run(prometheus / "promtool", "check", "config", str(ROOT / "docker/prometheus.yml"))
    run(prometheus / "promtool", "test", "rules", str(RULES / "alerts.test.yml"))
    running = []
    with tempfile.TemporaryDirectory(prefix="sluicegate-prometheus-") as folder:
        try:
            rules, panels = check_service(programs, prometheus, Path(folder), figures, records, running)
        finally:
            for process in reversed(running):
                process.terminate()
            for process in reversed(running):
                process.wait(60)
    print(f"{len(figures)} figures were scraped, {rules} rules and {panels} queries of dashboards have answers, and no alert "
          "fires at a service that is well; those of a database that stands still came and went")


if __name__ == "__main__":
    main()
