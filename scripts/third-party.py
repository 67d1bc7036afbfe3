#!/usr/bin/env python3
"""Lists what a program contains that was not written here: crates, and what is in its page. With the texts of the licences,
each once.

    scripts/third-party.py PROGRAM
"""

import json
import pathlib
import subprocess
import sys

DIST = pathlib.Path(__file__).resolve().parent.parent / "service/page/dist"
PAGES = {"sluicegate": DIST / "service", "sluicegen": DIST / "generator"}
NAMES = ("license", "licence", "copying", "notice", "unlicense")


def crates(program):
    """Packages that are linked into the program, without those of this workspace and those that only build or test it."""
    host = subprocess.check_output(["rustc", "--print", "host-tuple"], text=True).strip()
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    metadata = json.loads(subprocess.check_output(command))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting = [package["id"] for package in packages.values() if package["name"] == program]
    seen = set(waiting)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    linked = [packages[identity] for identity in seen if packages[identity]["source"]]
    return sorted(linked, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """The texts of licences that a crate brings along, and those of the library in C that a `-sys` crate is made of."""
    folder = pathlib.Path(package["manifest_path"]).parent
    folders = [folder]
    if package["name"].endswith("-sys"):
        folders += sorted(path for path in folder.iterdir() if path.is_dir())
    for path in (path for folder in folders for path in sorted(folder.iterdir())):
        if path.is_file() and path.name.lower().startswith(NAMES):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def main():
    program = sys.argv[1]
    linked = crates(program)
    print(f"The program {program} contains these crates:\n")
    holders = {}
    for package in linked:
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license'] or 'see its text'}; {package['repository'] or 'no repository'}")
        for text in texts(package):
            holders.setdefault(text, []).append(name)
    of_page = PAGES[program] / "third-party.txt"
    if of_page.exists():
        holders.setdefault(of_page.read_text(encoding="utf-8").strip(), []).append("in its page")
    for text, names in holders.items():
        print(f"\n{'=' * 100}\n{', '.join(names)}\n{'-' * 100}\n{text}")


main()
