"""A real Prometheus, and what it answers."""

import json
import socket
import time
import urllib.parse
import urllib.request

WAIT_S = 60


def fail(reason):
    raise SystemExit(f"observe: {reason}")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def post(url):
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
        return answer.read().decode()


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path, **parameters):
        url = f"{self.base}/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(get(url))["data"]

    def has(self, query):
        return bool(self.ask("query", query=query)["result"])

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def until(self, what, holds):
        for _ in range(WAIT_S * 4):
            try:
                if holds():
                    return
            except OSError:
                pass  # it starts
            time.sleep(0.25)
        fail(f"waited in vain: {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
