"""A real service with a real MariaDB, both of the test's own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

PROGRAMS = os.environ.get("SLUICEGATE_TEST_PROGRAMS")
START_S = 180


def missing():
    """Why there can be no service here; None otherwise."""
    if PROGRAMS is None:
        return "no service: SLUICEGATE_TEST_PROGRAMS has to name the folder of sluicegate"
    if not os.access(Path(PROGRAMS) / "sluicegate", os.X_OK):
        return f"no service: there is no sluicegate in {PROGRAMS}"
    if not Path("/usr/sbin/mariadbd").exists() or shutil.which("mariadb") is None:
        return "no service: there is no MariaDB on this machine"
    return None


class Service:
    def __init__(self, folder, *options, scheme="http"):
        self.folder, self._options, self._scheme = folder, options, scheme
        self.grpc, self.rest = free_port(), free_port()
        self._process = None
        self.start()

    @property
    def target(self):
        return f"{self._scheme}://127.0.0.1:{self.grpc}"

    def start(self):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        addresses = ["--grpc-addr", f"127.0.0.1:{self.grpc}", "--rest-addr", f"127.0.0.1:{self.rest}"]
        command = [f"{PROGRAMS}/sluicegate", "serve", f"--embedded-db={self.folder / 'data'}", *addresses]
        # The service refuses variables that begin like its own and are none.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--ready-file", ready, *self._options], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        for _ in range(START_S * 10):
            if ready.exists():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"the service did not start:\n{self.log()[-3_000:]}")

    def log(self):
        return (self.folder / "service.log").read_text(errors="replace")

    def kill(self):
        """As a loss of power would, but for the database."""
        self._process.kill()
        self._process.wait(60)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(120)

    def end(self):
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        self._process.kill()
        self._process.wait(60)

    def sql(self, query):
        """The rows, as lists of texts."""
        command = ["mariadb", f"--defaults-file={self.folder / 'data/client.cnf'}", "sluicegate", "-N", "-B", "-e", query]
        for _ in range(20):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return [line.split("\t") for line in done.stdout.splitlines()]
            time.sleep(0.5)
        raise AssertionError(done.stderr)

    def stored(self, id1):
        """How many readings a series has, how many times, and the sum of their values."""
        ((count, distinct, total),) = self.sql(
            f"SELECT COUNT(*), COUNT(DISTINCT ts), COALESCE(SUM(sensor_value), 0) FROM sensor_readings WHERE id1 = {id1}"
        )
        return int(count), int(distinct), float(total)

    def stream(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/streams/{name}", timeout=30) as answer:
            return json.load(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
