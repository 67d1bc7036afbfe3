"""A service whose database stands still: the alerts that say so fire, and are resolved when it goes on."""

import os
import re
import signal
from pathlib import Path

from server import fail

EXPECTED = {"SluicegateDatabaseDown", "SluicegateNotReady"}


def child_of(process):
    """The database of a service that has one of its own."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, after = stat.read_text().rsplit(")", 1)
        except OSError:
            continue  # it has ended
        if after.split()[1] == str(process.pid) and re.search(r"\((mariadbd|mysqld)$", before):
            return int(stat.parent.name)
    fail("the service has no database of its own")


def hurry(rules):
    """Alerts wait for seconds only, but for the rest are those of docker/prometheus."""
    path = rules / "alerts.yml"
    path.write_text(re.sub(r"^( +)for: \w+$", r"\1for: 2s", path.read_text(), flags=re.MULTILINE))


def check(server, prometheus, service, rules):
    hurry(rules)
    prometheus.send_signal(signal.SIGHUP)
    fires = 'ALERTS_FOR_STATE{alertname="SluicegateDatabaseDown"}'
    if server.has(fires):
        fail("an alert of a database that is away waits, and the database is well")
    database = child_of(service)
    os.kill(database, signal.SIGSTOP)
    try:
        server.until(f"{sorted(EXPECTED)} fire", lambda: EXPECTED <= server.firing())
    finally:
        os.kill(database, signal.SIGCONT)
    server.until("they are resolved", lambda: not EXPECTED & server.firing())
    server.until("readings are stored again", lambda: server.has("sum(rate(sluicegate_readings_committed_total[5s])) > 0"))
