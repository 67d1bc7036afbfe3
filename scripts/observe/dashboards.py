"""The dashboards for Grafana: every query has an answer."""

import json
import re
import subprocess
from pathlib import Path

from server import fail

FOLDER = Path(__file__).resolve().parents[2] / "docker/grafana"
SOURCES = FOLDER / "provisioning/datasources/sluicegate.yaml"
# What Grafana puts in the place of its macros, as its data source for MySQL does.
SQL_MACROS = [
    (r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '1971-01-01' AND '2100-01-01'"),
    (r"\$__timeGroupAlias\((\w+), \$__interval\)", r'UNIX_TIMESTAMP(\1) DIV 60 * 60 AS "time"'),
]


def dashboards():
    found = {path.name: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
    if not found:
        fail("there are no dashboards")
    return found


def queries(kind):
    """Of each panel that asks such a source: where it stands, and what it asks."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == kind:
                    yield f"{name}: {panel['title']}", target["expr" if kind == "prometheus" else "rawSql"]


def check_shape():
    """What Grafana would stumble over: ids and places that are taken twice, sources and variables that are not there."""
    sources = set(re.findall(r"^ +uid: (\S+)$", SOURCES.read_text(), re.MULTILINE))
    uids = [dashboard["uid"] for dashboard in dashboards().values()]
    if len(set(uids)) != len(uids):
        fail(f"two dashboards have the same uid: {uids}")
    for name, dashboard in dashboards().items():
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(set(ids)) != len(ids):
            fail(f"{name}: two panels have the same id")
        taken = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            if cells & taken or place["x"] + place["w"] > 24:
                fail(f"{name}: {panel['title']} does not fit into its place")
            taken |= cells
            for target in panel.get("targets", []):
                if target["datasource"]["uid"] not in sources:
                    fail(f"{name}: {panel['title']} asks {target['datasource']['uid']}, which is not provisioned")
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        asked = set(re.findall(r"\$(?!__)(\w+)", json.dumps(dashboard["panels"])))
        if asked != variables:
            fail(f"{name}: panels use the variables {sorted(asked)}, and there are {sorted(variables)}")


def check_figures(server):
    count = 0
    for where, query in queries("prometheus"):
        query = re.sub(r"\$(?!__)\w+", ".*", query.replace("$__rate_interval", "1m"))
        if not server.has(query):
            fail(f"{where} has no data: {query}")
        count += 1
    return count


def check_sql(account):
    count = 0
    for where, query in queries("mysql"):
        for macro, meaning in SQL_MACROS:
            query = re.sub(macro, meaning, query)
        done = subprocess.run(["mariadb", f"--defaults-file={account}", "--batch", "sluicegate", "-e", query],
                              capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"{where}: {done.stderr.strip()}: {query}")
        # A line of names, and one of values at the least.
        if len(done.stdout.splitlines()) < 2:
            fail(f"{where} has no data: {query}")
        count += 1
    return count
