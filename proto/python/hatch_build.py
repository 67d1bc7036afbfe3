"""Makes the modules of sluicegate/v1 from the contract, with their types, when the package is built.

They are not kept in the repository: they are made from a file that is in it, and would have to be made anew with every change.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc_tools
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTRACT = "sluicegate/v1/sensor_service.proto"


class GeneratedCode(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        licences = {str(path): path.name for path in licence_files(root)}
        if self.target_name == "sdist":
            build_data["force_include"].update(licences)
            return
        if version == "editable":
            generate(contract_folder(root), root / "src")
            return
        # The source tree stays as it is.
        self._made = tempfile.TemporaryDirectory()
        made = Path(self._made.name)
        generate(contract_folder(root), made)
        build_data["force_include"].update({str(path): str(path.relative_to(made)) for path in made.rglob("*_pb2*")})
        build_data["force_include"].update({path: f"sluicegate/{name}" for path, name in licences.items()})


def contract_folder(root: Path) -> Path:
    """The folder of the contract: of a source distribution it is a part, in the repository it lies beside this one."""
    for folder in (root / "contract", root.parent / "proto"):
        if (folder / CONTRACT).exists():
            return folder
    raise SystemExit(f"there is no {CONTRACT} in {root}/contract or {root.parent}/proto")


def licence_files(root: Path) -> list[Path]:
    return sorted(root.glob("LICENSE-*")) or sorted(root.parent.parent.glob("LICENSE-*"))


def program(name: str) -> str:
    """Of the environment that builds, which need not be on PATH."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit(f"there is no {name}: it comes with mypy-protobuf")
    return found


def generate(contract: Path, into: Path) -> None:
    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={into}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = [f"--plugin=protoc-gen-{kind}={program(f'protoc-gen-{kind}')}" for kind in ("mypy", "mypy_grpc")]
    status = protoc.main(["protoc", f"-I{contract}", f"-I{wellknown}", *plugins, *outputs, CONTRACT])
    if status != 0:
        raise SystemExit(f"protoc ended with {status} on {contract / CONTRACT}")
