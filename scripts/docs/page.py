"""Runs the commands of one page, from top to bottom, as a reader would: in an empty folder, with the programs on PATH.

    page.py PAGE PROGRAMS KEPT

Called by main.py, in a network of its own where the machine allows that, so that the ports which the page names are free.
The last line of stdout is JSON: what was run, and what was not, and why.
"""

import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import kept
import markdown

ROOT = Path(__file__).resolve().parents[2]
# What a page may name by its path, as in a checkout.
OF_THE_REPOSITORY = ("docker", "docs", "generator", "proto", "scripts", "service", "sql")
READY = "http://127.0.0.1:8080/readyz"
# Generous: a machine that does something else as well is no reason to fail.
READY_S, COMMAND_S, END_S = 120, 300, 120
PROGRAMS_OF_THE_REPOSITORY = ("sluicegate", "sluicegen")
SAVED, SHOWN, FOREIGN = ("python", "go", "yaml", "toml", "json"), ("text", "json"), ("bash", "shell", "console")


class Wrong(Exception):
    """The page does not hold."""


class Shell:
    """A folder for the page, and what runs in the background of it."""

    def __init__(self, folder, programs, cache):
        self.folder, self.cache, self.background = folder, cache, []
        # What mktemp makes, and the state of a fleet, stay in here as well.
        for name in ("tmp", "state", "bin", "target/release", "home"):
            (folder / ".page" / name).mkdir(parents=True)
        page = folder / ".page"
        for program in PROGRAMS_OF_THE_REPOSITORY:
            (page / "bin" / program).symlink_to(programs / program)
            (page / "target/release" / program).symlink_to(programs / program)
        (folder / "target").symlink_to(page / "target")
        for name in OF_THE_REPOSITORY:
            (folder / name).symlink_to(ROOT / name)
        ours = ("SLUICEGATE_", "SLUICEGEN_")
        kept_variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**kept_variables, "PATH": f"{page / 'bin'}:{cache / 'go/bin'}:{os.environ['PATH']}", "TMPDIR": str(page / "tmp"),
                            "XDG_STATE_HOME": str(page / "state"), "LC_ALL": "C.UTF-8", **kept.environment(cache)}

    def run(self, text):
        """Its exit status and its output."""
        with open(self.folder / ".page/stderr", "wb") as stderr:
            process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environment,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)
            try:
                out = process.communicate(timeout=COMMAND_S)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise Wrong(f"is not done after {COMMAND_S} s") from None
        return process.returncode, out.decode(errors="replace"), (self.folder / ".page/stderr").read_text(errors="replace")

    def leave_running(self, text, ready):
        log = open(self.folder / f".page/background-{len(self.background)}.log", "wb")
        # `exec`: the signal at the end is for the program, not for a shell before it.
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", f"exec {text}"], cwd=self.folder, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.background.append((process, text.strip(), Path(log.name)))
        for _ in range(READY_S * 5):
            if process.poll() is not None:
                raise Wrong(f"ended with {process.returncode} instead of going on:\n{tail(Path(log.name))}")
            if self.is_ready(ready):
                return
            time.sleep(0.2)
        raise Wrong(f"is not ready after {READY_S} s ({ready}):\n{tail(Path(log.name))}")

    def is_ready(self, ready):
        """An address that answers with 200, or a command that ends with 0."""
        return answers(ready) if ready.startswith("http") else self.run(ready)[0] == 0

    def end(self):
        """What was told to end has to end well."""
        wrong = []
        for process, text, log in reversed(self.background):
            # As Ctrl-C does, which a database server does not heed.
            ours = text.startswith(PROGRAMS_OF_THE_REPOSITORY)
            process.send_signal(signal.SIGINT if ours else signal.SIGTERM)
            try:
                status = process.wait(END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
            if status != 0:
                wrong.append(f"`{text}` ended with {status} when it was told to:\n{tail(log)}")
        self.background = []
        return wrong


def tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def is_like(shown, found):
    """Whether a page shows what was found; … stands for what differs from run to run, a line of it for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"\s*?\n"
        for line in shown.splitlines())
    return re.fullmatch(pattern, found if found.endswith("\n") or not found else f"{found}\n") is not None


def run_block(shell, block, shown):
    """None, or why it was not run."""
    given = block.marks
    if "installs" in given:
        return kept.hand_out(shell.cache, ROOT, shell.folder, block.text)
    if "background" in given:
        shell.leave_running(block.text, given.get("ready", READY))
        return None
    judge(shell.run(block.text), int(given.get("exit", 0)), shown)
    return None


def judge(ended, wanted, shown):
    status, out, err = ended
    if status != wanted:
        raise Wrong(f"ended with {status}, and {wanted} was expected:\n{out[-2000:]}{err[-2000:]}")
    if shown is not None and not is_like(shown.text, out):
        raise Wrong(f"has another output than the page shows. Shown:\n{shown.text}Found:\n{out[-4000:]}{err[-1000:]}")


def run_example(shell, programs, block, shown):
    """Rust in the book is an example of the workspace, which the compiler reads and cargo builds."""
    name = block.marks.get("example")
    source = next(ROOT.glob(f"*/examples/{name}.rs"), None)
    if source is None or source.read_text() != block.text:
        raise Wrong(f"is not what stands in */examples/{name}.rs")
    program = programs / "examples" / name
    if not program.exists():
        return f"no {program}: `cargo test` builds it"
    judge(shell.run(str(program)), 0, shown)
    return None


def set_up(shell, needs):
    """What the page takes for granted; it says so in words, too."""
    if "service" in needs:
        shell.leave_running("sluicegate serve --embedded-db", READY)
    if "weather" in needs:
        status, out, err = shell.run("sluicegen replay generator/data/seattle-weather-hourly-normals.csv "
                                     "--wide --time-column date --id1 1 --id2 seattle")
        if status != 0:
            raise Wrong(f"the weather record cannot be replayed:\n{out}{err}")


def run(page, shell, programs):
    """How many blocks were run, and those that were not, with the reasons."""
    done, left_out, missing = 0, [], None
    for place, block in enumerate(page.blocks):
        shown = output_of(page, place)
        try:
            if block.language in FOREIGN:
                raise Wrong(f"is in {block.language}: write sh")
            if "elsewhere" in block.marks:
                left_out.append((block.line, elsewhere(block.marks["elsewhere"])))
            elif block.language in SAVED and "file" in block.marks:
                path = shell.folder / block.marks["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            elif block.language in ("python", "go"):
                raise Wrong("is neither saved (file=NAME) nor said to be run elsewhere")
            elif block.language in ("sh", "rust"):
                # Once something could not be installed, nothing that follows can be expected to work.
                reason = missing
                if reason is None and block.language == "rust":
                    reason = run_example(shell, programs, block, shown)
                elif reason is None:
                    reason = missing = run_block(shell, block, shown)
                if reason:
                    left_out.append((block.line, reason))
                else:
                    done += 1
        except Wrong as reason:
            raise Wrong(f"{page.path.relative_to(ROOT)}, the block in line {block.line} {reason}") from None
    return done, left_out


def output_of(page, place):
    """The block right below, where it shows output: between them there is nothing but empty lines."""
    if place + 1 == len(page.blocks):
        return None
    block, following = page.blocks[place:place + 2]
    lines = page.path.read_text().splitlines()
    end = block.line + block.text.count("\n") + 1
    right_below = all(not line.strip() for line in lines[end:following.line - 1])
    return following if right_below and following.language in SHOWN and not following.marks else None


def elsewhere(reason):
    script = reason.split(":")[0]
    if not (ROOT / script).exists():
        raise Wrong(f"is said to be run by {script}, which is not there")
    return reason


def raise_loopback():
    """A network of one's own begins without."""
    interface_flags, up = 0x8914, 0x1 | 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, interface_flags, struct.pack("16sH14s", b"lo", up, b""))


def main():
    path, programs, cache = (Path(argument).absolute() for argument in sys.argv[1:4])
    if "own-network" in sys.argv[4:]:
        raise_loopback()
    page = markdown.read(path)
    begun, wrong, done, left_out = time.monotonic(), [], 0, []
    with tempfile.TemporaryDirectory(prefix="sluicegate-docs-") as folder:
        shell = Shell(Path(folder), programs, cache)
        try:
            set_up(shell, page.needs)
            done, left_out = run(page, shell, programs)
        except Wrong as reason:
            wrong.append(str(reason))
        finally:
            wrong += shell.end()
    print(json.dumps({"run": done, "left_out": left_out, "wrong": wrong, "seconds": round(time.monotonic() - begun, 1)}))


if __name__ == "__main__":
    main()
