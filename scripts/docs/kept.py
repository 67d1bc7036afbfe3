"""What pages install: made once and kept, since it comes from package registries and takes its time."""

import fcntl
import hashlib
import os
import shutil
import subprocess

INSTALL_S = 900


def environment(cache):
    """For every command of a page: compilers and package managers keep in here what they fetch and make."""
    return {"GOPATH": str(cache / "go"), "GOBIN": str(cache / "go/bin"), "GOCACHE": str(cache / "go-build"),
            "GOFLAGS": "-modcacherw -buildvcs=false", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CACHE_DIR": str(cache / "pip")}


def home_of(cache, root, text):
    """What is made from the contract and the clients in proto/ is made anew when those change."""
    made_of = hashlib.sha256(text.encode())
    if "proto/" in text:
        for folder in ("proto/proto", "proto/python"):
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in (".proto", ".py", ".toml"):
                    made_of.update(path.read_bytes())
    return cache / "installed" / made_of.hexdigest()[:16]


def install(cache, root, text):
    """Runs the commands in a folder that is kept, unless it was done before. None, or why they failed."""
    home = home_of(cache, root, text)
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.exists():
            return None
        unfinished = home.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        (unfinished / "proto").symlink_to(root / "proto")
        path = f"{cache / 'go/bin'}:{os.environ['PATH']}"
        try:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=unfinished, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=INSTALL_S,
                                  env={**os.environ, **environment(cache), "PATH": path})
        except subprocess.TimeoutExpired:
            return f"not installed after {INSTALL_S} s"
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            return f"cannot be installed here: {last}"
        (unfinished / "proto").unlink()
        unfinished.rename(home)
    return None


def hand_out(cache, root, folder, text):
    """Puts a copy of what was installed into the folder of a page. None, or why there is nothing."""
    home = home_of(cache, root, text)
    if not home.exists():
        return "what it needs could not be installed"
    shutil.copytree(home, folder, symlinks=True, dirs_exist_ok=True)
    return None
