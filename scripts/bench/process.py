"""What processes cost: CPU seconds and peak memory, read from /proc."""

import contextlib
import json
import os
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

from builds import PROGRAMS, measured

TICK = os.sysconf("SC_CLK_TCK")


class Unbalanced(Exception):
    """The books of a case do not balance: it has no figure."""


def cpu_seconds(pid, with_ended=False):
    """Of a process and, if asked for, of those that it started and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15 if with_ended else 13])) / TICK


def voluntary_switches(pid):
    """How often the threads of a process have waited for something: a latch, a lock, the disk, the next statement."""
    waited = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        # A thread may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in status.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    waited += int(line.split()[1])
    return waited


def core_to_core_ns():
    """How far apart the cores are now, nanoseconds; None where there is only one."""
    done = subprocess.run([PROGRAMS / "examples/core_latency"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return None if found is None else float(found)


def memory_mib(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


# What runs now and has to end with the benchmark, in the order in which it was started.
RUNNING = []


def stop_all():
    while RUNNING:
        RUNNING[-1].__exit__()


# What is started beside each service, and ended before it.
_watchers = []


@contextlib.contextmanager
def watching(watcher):
    """Services that start meanwhile have a watcher: `watcher(service)` returns what has to be ended with `end()`."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class Credentials:
    """What a service that is secured shows and asks for, and what its producers have."""

    def __init__(self, folder):
        folder = Path(folder)
        program = PROGRAMS / "sluicegate"
        subprocess.run([program, "certs", folder, "--names", "localhost,127.0.0.1"], check=True, capture_output=True)
        subprocess.run([program, "token", "new", "--name", "bench", "--scopes", "admin", "--file", folder / "tokens.yaml",
                        "--into", folder / "bench.token"], check=True, capture_output=True)
        self.flags = [f"--tls-cert={folder}/server.pem", f"--tls-key={folder}/server.key", f"--auth-tokens={folder}/tokens.yaml"]
        self.environment = {"SLUICEGEN_TLS_CA": f"{folder}/ca.pem", "SLUICEGEN_TOKEN_FILE": f"{folder}/bench.token"}
        self.trust = ssl.create_default_context(cafile=f"{folder}/ca.pem")


# Those of services that start meanwhile, if they are secured.
_credentials = None


@contextlib.contextmanager
def secured(credentials):
    """Services that start meanwhile speak TLS and ask for tokens, and producers have them."""
    global _credentials
    _credentials = credentials
    try:
        yield
    finally:
        _credentials = None


def end(process):
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Service:
    """A running `sluicegate serve`; use it with `with`."""

    def __init__(self, engine, database, folder, layout="partitioned", ready_s=30, **settings):
        self.folder, self.ready_s = Path(folder), ready_s
        ready = self.folder / "ready.json"
        self.ready = ready
        self.watchers = []
        self.credentials = _credentials
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
        flags += self.credentials.flags if self.credentials else []
        self.command = [measured().programs / "sluicegate", "serve", "--database-url", engine.url(database), "--layout",
                        layout, "--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0", "--ready-file", ready, *flags]

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ready.unlink(missing_ok=True)
        self.log = open(self.folder / "service.log", "wb")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        RUNNING.append(self)
        for _ in range(self.ready_s * 20):
            if self.process.poll() is not None:
                raise SystemExit(f"the service did not start: {(self.folder / 'service.log').read_text()}")
            if self.ready.exists():
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"the service is not ready after {self.ready_s} s")
        addresses = json.loads(self.ready.read_text())
        scheme = "https" if self.credentials else "http"
        self.grpc = f"{scheme}://{addresses['grpc_addr']}"
        self.rest = f"{scheme}://{addresses['rest_addr']}"
        self.watchers = [watcher(self) for watcher in _watchers]
        return self

    def restart(self):
        """A new one in its place, with other addresses."""
        self.__exit__()
        self.__enter__()

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def peak(self):
        return memory_mib(self.process.pid, "VmHWM")

    def expect_books(self, committed):
        """P6, and nothing rejected or still on its way. What a call was cut with comes again, and is stored once: it was
        turned away, which counts as rejected, or it is a duplicate."""
        trust = self.credentials.trust if self.credentials else None
        with urllib.request.urlopen(self.rest + "/readyz", timeout=30, context=trust) as answer:
            books = json.load(answer)["books"]
        again = books["turned_away"] + books["duplicate"]
        due = {"received": committed + again, "committed": committed, "rejected": books["turned_away"], "in_flight": 0}
        if any(books[name] != count for name, count in due.items()):
            raise Unbalanced(f"the service's books say {books}, {committed} were committed")

    def resident(self):
        return memory_mib(self.process.pid, "VmRSS")

    def __exit__(self, *_):
        RUNNING.remove(self)
        for watcher in self.watchers:
            watcher.end()
        end(self.process)


def sluicegen(*flags, timeout=600):
    """Runs the generator and returns its JSON report; a report that ends in failure does not balance."""
    command = [measured().programs / "sluicegen", *map(str, flags)]
    try:
        environment = {**os.environ, **(_credentials.environment if _credentials else {})}
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired as expired:
        raise Unbalanced(f"not done after {timeout} s: sluicegen {' '.join(map(str, flags))}") from expired
    if done.returncode != 0:
        said = f"sluicegen {' '.join(map(str, flags))}: {done.stderr.strip()} {done.stdout.strip()}"
        raise Unbalanced(said) if done.stdout.startswith("{") else SystemExit(said)
    return json.loads(done.stdout) if "--json" in flags else None
