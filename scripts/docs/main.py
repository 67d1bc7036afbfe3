#!/usr/bin/env python3
"""Holds the book to what it says: its links lead somewhere, and its commands do what it shows.

    scripts/docs/main.py PROGRAMS KEPT [PAGE...]

PROGRAMS is the folder of sluicegate and sluicegen, KEPT a folder for what pages install. Without pages, all are looked at.
How a block is treated stands behind its language:

    sh                              run by bash; has to end with 0, and what stands right below it as text or json is its
                                    output, in which … stands for anything
    sh exit=2                       has to end with 2
    sh background                   goes on until the page ends, and has to end well after Ctrl-C; the page goes on once
                                    REST says that it is ready
    sh background ready=WHAT        the same, once that address answers or that command ends with 0
    sh installs                     run once and kept, with the network; where it fails, the rest of the page is left out
    sh elsewhere="SCRIPT: reason"   not run here; SCRIPT runs it, or what comes nearest
    python file=NAME                saved under that name, as are go, yaml, toml and json
    rust example=NAME               has to be examples/NAME.rs of a crate, which is run

`<!-- check: service weather -->` in a page has the service running and the weather record stored before it begins, as the
first pages of the book leave them.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kept
import links
import markdown

ROOT = Path(__file__).resolve().parents[2]
PORTS = (50051, 8080)
PAGE_S = 900
# Each has a database and a service of its own.
AT_ONCE = 2


def papers():
    """Every Markdown file of the repository."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, text=True,
                            capture_output=True, check=False)
    found = [ROOT / name for name in listed.stdout.split("\n") if name]
    if listed.returncode != 0:  # not a checkout
        found = [path for folder in (".", "docs", "generator", "bench-results") for path in (ROOT / folder).glob("*.md")]
    return [markdown.read(path) for path in sorted(found) if path.exists()]


def own_network():
    """The words that give a command a network of its own, or none where that is not allowed."""
    for words in (["unshare", "--net"], ["unshare", "--user", "--map-current-user", "--keep-caps", "--net"]):
        try:
            if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
                return words
        except FileNotFoundError:
            break
    return []


def has_commands(page):
    languages = {"sh", "python", "go", "rust"}
    return any(block.language in languages for block in page.blocks)


def check_page(page, programs, cache, network):
    for block in page.blocks:
        if "installs" in block.marks and (reason := kept.install(cache, ROOT, block.text)):
            say(f"{page.path.relative_to(ROOT)}, line {block.line}: {reason}")
    command = [*network, sys.executable, Path(__file__).with_name("page.py"), page.path, programs, cache]
    command += ["own-network"] if network else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=PAGE_S, check=False)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"run": 0, "left_out": [], "wrong": [f"{page.path}: {done.stdout}{done.stderr}"], "seconds": 0}


def say(text):
    print(text, flush=True)


def taken_ports():
    import socket
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                yield port


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    programs, cache = (Path(argument).absolute() for argument in sys.argv[1:3])
    for program in ("sluicegate", "sluicegen"):
        if not os.access(programs / program, os.X_OK):
            raise SystemExit(f"check-docs: there is no {program} in {programs}: build it first")
    begun, pages = time.monotonic(), papers()
    wrong = links.check(ROOT, pages)
    linked = sum(len(page.links) for page in pages)
    chosen = [Path(name).absolute() for name in sys.argv[3:]]
    book = [page for page in pages if has_commands(page) and (not chosen or page.path in chosen)]
    network = own_network()
    if not network and (taken := list(taken_ports())):
        raise SystemExit(f"check-docs: {taken} are in use, and no network of its own can be made here: stop what listens there")
    with ThreadPoolExecutor(AT_ONCE if network else 1) as pool:
        results = list(pool.map(lambda page: check_page(page, programs, cache, network), book))
    for page, result in zip(book, results):
        name = page.path.relative_to(ROOT)
        say(f"{name}: {result['run']} run, {len(result['left_out'])} left out, in {result['seconds']} s")
        for line, reason in result["left_out"]:
            say(f"  NOT run: line {line}: {reason}")
        wrong += result["wrong"]
    for reason in wrong:
        print(f"check-docs: {reason}", file=sys.stderr)
    done, left_out = (sum(count) for count in zip(*[(one["run"], len(one["left_out"])) for one in results], (0, 0)))
    say(f"{linked} links of {len(pages)} pages lead somewhere; {done} blocks of commands in {len(book)} pages do what they say, "
        f"and {left_out} were left out, in {time.monotonic() - begun:.0f} s" if not wrong else f"{len(wrong)} faults")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
