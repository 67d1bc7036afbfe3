"""Measures what it costs to be asked for /metrics every second: the same program in alternating pairs, alone and asked, so
that both meet the machine's mood."""

import contextlib
import os
import threading
import time
import urllib.request
from pathlib import Path

from against import DEFAULT_CASES, FIGURES, PAIRS, asked_steps, number, summarise
from context import Context
from engine import Engine
from plan import CASES, servers_of
from process import Service, Unbalanced, cpu_seconds, watching

INTERVAL_S = 1.0
# So many, one after the other, tell what one of them costs: in a run it is lost among what the readings cost.
SCRAPES = 2_000
# As Prometheus asks.
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Scraper(threading.Thread):
    """Asks a service for its figures every second, from its start to its end."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.request = urllib.request.Request(f"{service.rest}/metrics", headers={"Accept": ACCEPT})
        self.stopped, self.times_ms, self.bytes, self.failure = threading.Event(), [], 0, None
        self.start()

    def run(self):
        due = time.monotonic()
        while not self.stopped.wait(max(0.0, due - time.monotonic())):
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self.request, timeout=10) as answer:
                    self.bytes = len(answer.read())
            except OSError as failure:
                self.failure = failure
                return
            self.times_ms.append((time.monotonic() - began) * 1e3)
            due += INTERVAL_S

    def end(self):
        self.stopped.set()
        self.join()


def scraping(scrapers):
    """Services that start meanwhile are asked; `scrapers` gets who asks them."""
    def scrape(service):
        scrapers.append(Scraper(service))
        return scrapers[-1]
    return watching(scrape)


def measure(name, step, context, asked, say):
    """One sample, or None where the books do not balance."""
    scrapers = []
    try:
        with scraping(scrapers) if asked else contextlib.nullcontext():
            sample = CASES[name].steps(context)[step]()
    except Unbalanced as reason:
        say(f"  NO FIGURE, {reason}")
        return None
    if failures := [scraper.failure for scraper in scrapers if scraper.failure]:
        raise SystemExit(f"/metrics did not answer: {failures[0]}")
    times_ms = [each for scraper in scrapers for each in scraper.times_ms]
    if asked and len(times_ms) < 2:
        raise SystemExit(f"{step} is over after {len(times_ms)} scrapes: give it more readings (--count)")
    if asked:
        sample["scrapes"], sample["scrape_ms"] = len(times_ms), sum(times_ms) / len(times_ms)
        sample["page_bytes"] = scrapers[-1].bytes
    return sample


def measure_pairs(name, step, context, pairs, say):
    found = []
    for count in range(1, pairs + 1):
        pair = {}
        for asked in (False, True) if count % 2 else (True, False):
            pair[asked] = measure(name, step, context, asked, say)
        found.append({"old": pair[False], "new": pair[True]})
        if all(pair.values()):
            rates, asked = (pair[True]["rows_per_s"], pair[False]["rows_per_s"]), pair[True]
            say(f"  pair {count}: {rates[0]:,.0f}/s asked, {rates[1]:,.0f}/s alone: {rates[0] / rates[1]:.3f}; "
                f"{asked['scrapes']} scrapes of {asked['page_bytes']:,} bytes, {asked['scrape_ms']:.1f} ms each")
    return found


def show(engine, step, figures, pairs, say):
    say(f"{engine.name} {engine.version}: {step}, asked every {INTERVAL_S:g} s")
    for name, found in figures.items():
        ratio = found["ratio"]
        print(f"    {FIGURES[name]:30} {number(found['new']):>9}, alone {number(found['old']):>9}: ratio "
              f"{ratio['median']:.4f} ({ratio['quartile_low']:.4f} to {ratio['quartile_high']:.4f} in the middle half, "
              f"{ratio['min']:.4f} to {ratio['max']:.4f} in all), {ratio['pairs']} of {pairs} pairs", flush=True)


def cost_of_one(engine, folder, say):
    """CPU of service and database for one scrape, with nothing else to do."""
    engine.fresh_schema("partitioned")
    with Service(engine, "bench", folder) as service:
        scraper = Scraper(service)
        scraper.end()
        idle = service.cpu(), cpu_seconds(engine.process.pid), time.monotonic()
        time.sleep(3)
        rest = [(after - before) / (time.monotonic() - idle[2]) for after, before in
                zip((service.cpu(), cpu_seconds(engine.process.pid)), idle[:2])]
        before, began = (service.cpu(), cpu_seconds(engine.process.pid)), time.monotonic()
        for _ in range(SCRAPES):
            with urllib.request.urlopen(scraper.request, timeout=10) as answer:
                answer.read()
        took_s = time.monotonic() - began
        of_service, of_database = [
            (after - first - idle_share * took_s) / SCRAPES
            for after, first, idle_share in zip((service.cpu(), cpu_seconds(engine.process.pid)), before, rest)]
    share = (of_service + of_database) / INTERVAL_S / os.cpu_count()
    say(f"{engine.name} {engine.version}: one scrape takes {of_service * 1e3:.3f} ms of the service's CPU and "
        f"{of_database * 1e3:.3f} ms of the database's, of {SCRAPES}: asked every {INTERVAL_S:g} s, {share:.3%} of this machine")


def run(arguments, rows, folder, say):
    steps = asked_steps(arguments.case or DEFAULT_CASES[:1])
    pairs = arguments.rounds or PAIRS["quick" if arguments.quick else "full"]
    for engine_name in arguments.engine or ["mysql", "mariadb"]:
        for server, names in servers_of(steps, engine_name):
            with Engine(engine_name, Path(folder) / engine_name, server) as engine:
                cost_of_one(engine, Path(folder) / "service", say)
                for name in names:
                    context = Context(engine, rows, Path(folder) / "service", arguments.quick)
                    for step in steps[name]:
                        samples = measure_pairs(name, step, context, pairs, say)
                        figures = summarise(samples)
                        if not figures:
                            raise SystemExit(f"{step} has no pair whose books balance")
                        show(engine, step, figures, pairs, say)
