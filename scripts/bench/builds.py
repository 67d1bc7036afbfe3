"""States of the code that can be measured: the programs of one, and the layouts of its table."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is downloaded or built once and kept, as in lib.sh.
CACHE = Path(os.environ.get("SLUICEGATE_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluicegate")
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "release"


@dataclass(frozen=True)
class Build:
    """`sluicegate` and `sluicegen` of one state of the code, and what they make a table with."""

    commit: str
    programs: Path
    layouts: Path


PRESENT = Build("", PROGRAMS, ROOT / "sql/layouts")
_measured = [PRESENT]


def measured():
    """The build whose programs run now."""
    return _measured[-1]


@contextlib.contextmanager
def measuring(build):
    _measured.append(build)
    try:
        yield
    finally:
        _measured.pop()


def kept(folder, commit):
    return Build(commit, folder, folder / "layouts")


def keep(folder, source, programs):
    """Copies what a build consists of; whoever finds the folder finds all of it."""
    parts = folder.with_name(f"{folder.name}.{os.getpid()}")
    parts.mkdir(parents=True)
    for program in ("sluicegate", "sluicegen"):
        shutil.copy2(programs / program, parts)
    shutil.copytree(source / "sql/layouts", parts / "layouts")
    if folder.exists():  # another benchmark was faster
        shutil.rmtree(parts)
    else:
        parts.rename(folder)


def present(folder, commit):
    """The present one, copied: it may be built anew while it is measured."""
    keep(folder, ROOT, PROGRAMS)
    return kept(folder, commit)


def git(*arguments, check=True):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_of(name):
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
    if not found:
        raise SystemExit(f"--against {name}: there is no such commit here")
    return found


def of_commit(commit, say):
    """That of a commit, built in a folder of its own unless it has been."""
    folder = CACHE / "against" / commit
    if not folder.exists():
        # Not in the working tree's target: neither build makes the other one start anew.
        target = CACHE / "against" / "target"
        with tempfile.TemporaryDirectory(prefix="sluicegate-against-") as parent:
            tree = Path(parent) / "tree"
            git("worktree", "add", "--quiet", "--detach", str(tree), commit)
            try:
                say(f"building {commit[:12]}, once")
                environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
                build = ["cargo", "build", "--quiet", "--release", "--locked", "--bins"]
                if subprocess.run(build, cwd=tree, env=environment).returncode != 0:
                    raise SystemExit(f"{commit[:12]} does not build")
                keep(folder, tree, target / "release")
            finally:
                git("worktree", "remove", "--force", str(tree), check=False)
    return kept(folder, commit)
