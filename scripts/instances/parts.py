"""The parts: instances of the service that can be ended and started again, the proxy before them, and a fleet."""

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60


def fail(reason):
    raise SystemExit(f"instances: {reason}")


def until(what, holds, wait_s=WAIT_S):
    """What it holds, once it does."""
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.1)
    fail(f"waited {wait_s} s in vain: {what}")


def free_ports(count):
    """They are held until all are found, so that none comes twice."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Instance:
    """A `sluicegate serve` with a name and ports of its own, which it keeps when it is started again."""

    def __init__(self, programs, name, url, folder):
        self.name, self.folder = name, folder
        self.grpc_port, self.rest_port = free_ports(2)
        self.command = [programs / "sluicegate", "serve", "--database-url", url, "--instance", name,
                        "--grpc-addr", f"127.0.0.1:{self.grpc_port}", "--rest-addr", f"127.0.0.1:{self.rest_port}"]
        self.rest = f"http://127.0.0.1:{self.rest_port}"
        self.process = None

    def start(self):
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        until(f"{self.name} is ready", lambda: answers(f"{self.rest}/readyz"))

    def end(self):
        """As an operator does; it has to end well."""
        self.process.terminate()
        code = self.process.wait(WAIT_S)
        if code != 0:
            fail(f"{self.name} ended with {code}: {self.log()[-2000:]}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT_S)

    def log(self):
        return (self.folder / f"{self.name}.log").read_text()

    def metrics(self):
        with urllib.request.urlopen(f"{self.rest}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def figures(self, name):
        """A figure of its /metrics: labels to value."""
        lines = self.metrics().splitlines()
        found = [line.rsplit(" ", 1) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        if not found:
            fail(f"{self.name} has no figure {name}")
        return {series.removeprefix(name): float(value) for series, value in found}

    def figure(self, name):
        """All labels together."""
        return sum(self.figures(name).values())


class Proxy:
    """HAProxy with the configuration of docker/, on other ports."""

    def __init__(self, instances, folder):
        self.grpc_port, self.rest_port = free_ports(2)
        text = (ROOT / "docker/haproxy.cfg").read_text()
        changes = [("bind 127.0.0.1:50050", f"bind 127.0.0.1:{self.grpc_port}"),
                   ("bind 127.0.0.1:8088", f"bind 127.0.0.1:{self.rest_port}")]
        for instance, grpc, rest in zip(instances, (50051, 50052), (8080, 8081)):
            changes += [(f"server {instance.name} 127.0.0.1:{grpc} port {rest}",
                         f"server {instance.name} 127.0.0.1:{instance.grpc_port} port {instance.rest_port}"),
                        (f"server {instance.name} 127.0.0.1:{rest}\n",
                         f"server {instance.name} 127.0.0.1:{instance.rest_port}\n")]
        for before, after in changes:
            if text.count(before) != 1:
                fail(f"docker/haproxy.cfg has {text.count(before)} times {before!r}, and one was expected")
            text = text.replace(before, after)
        self.file = folder / "haproxy.cfg"
        self.file.write_text(text)
        self.program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        self.folder, self.process = folder, None
        self.grpc, self.rest = f"http://127.0.0.1:{self.grpc_port}", f"http://127.0.0.1:{self.rest_port}"

    def start(self):
        for file in (ROOT / "docker/haproxy.cfg", self.file):
            check = subprocess.run([self.program, "-c", "-f", file], capture_output=True, text=True)
            if check.returncode != 0 or "WARNING" in check.stderr + check.stdout:
                fail(f"haproxy -c -f {file}: {check.stdout}{check.stderr}")
        with open(self.folder / "haproxy.log", "ab") as log:
            self.process = subprocess.Popen([self.program, "-db", "-f", self.file], stdout=log, stderr=log)
        until("the proxy leads to an instance that is ready", lambda: answers(f"{self.rest}/readyz"))


class Fleet:
    """Generators that `sluicegen fleet` has started."""

    def __init__(self, programs, folder, count, target, rate):
        self.command = [programs / "sluicegen", "fleet", "--json", "--state-dir", folder / "fleet"]
        self.journals = folder / "journals"
        self.journals.mkdir()
        self.count = count
        self.ask("up", "--count", count, "--first-port", 0, "--", "--target", target, "--rate", rate, "--journal-dir",
                 self.journals)

    def ask(self, *words):
        done = subprocess.run([*self.command, *map(str, words)], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            fail(f"sluicegen fleet {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def stats(self):
        return self.ask("stats")

    def acknowledged(self):
        """Of each generator."""
        return {generator["endpoint"]: generator["acknowledged"] for generator in self.stats()["generators"]}

    def all_go_on(self, what):
        """Every one of them gets acknowledgements, and says how long that took, seconds."""
        before, began = self.acknowledged(), time.monotonic()
        def all_do():
            now = self.acknowledged()
            return all(now[endpoint] > before[endpoint] for endpoint in before)
        until(f"all generators go on {what}", all_do)
        return time.monotonic() - began
