"""Wheels of this project: a pure one, and one for this Python and platform whose engine is compiled.

    make wheels  (both, into dist/; the second one needs a C compiler and Python's headers)

The compiled wheel is the pure one and, beside each module of the engine's hot path, what mypyc made of it.
`BACKBEAT_PURE=1` leaves that away.
"""

import argparse
import ast
import contextlib
import io
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import hot_records
from .requirements import ROOT

#: The engine's hot path: folders and modules of the package.
HOT = (
    "streams/core",
    "streams/engine",
    "streams/output",
    "streams/input/validate.py",
    "streams/state/layers.py",
    "streams/state/rocksdb.py",
    "streams/state/scans.py",
    "streams/state/store.py",
    "streams/state/stored_records.py",
    "streams/state/stored_timers.py",
    "streams/state/timers.py",
    "streams/state/versions.py",
)
#: Modules that mypyc compiles into something else: classes that are extended in Python; dataclasses with slots.
INTERPRETED = ("streams/core/store.py", "streams/core/tables.py", "streams/engine/partition.py")
#: The extension module that holds all of them.
LIBRARY = "backbeat"
#: Optimisation by the C compiler: for use; and for tests, which run once and ask whether mypyc's C is right.
_OPTIMISED, _UNOPTIMISED = "3", "0"


def main(words: Sequence[str] | None = None) -> int:
    """Build the wheels; 0, or 1 where a tool failed."""
    parser = argparse.ArgumentParser(prog="make wheels", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the wheels (dist)")
    parser.add_argument("--pure", action="store_true", help="the pure one only")
    parser.add_argument("--tree", type=Path, help="the compiled package as a folder, for PYTHONPATH; no wheels")
    parser.add_argument("--unoptimised", action="store_true", help="with --tree: quick to compile, slow to run")
    arguments = parser.parse_args(words)
    work = ROOT / "build" / "wheels"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    pure = _build_pure(work / "pure")
    if arguments.tree:
        shutil.rmtree(arguments.tree, ignore_errors=True)
        _compile(pure, arguments.tree.resolve(), work, _UNOPTIMISED if arguments.unoptimised else _OPTIMISED)
        return 0
    wheels = [pure]
    if not arguments.pure:
        tree = work / "tree"
        _compile(pure, tree, work, _OPTIMISED)
        wheels.append(_pack(tree, work / "compiled"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        print(shutil.copy(wheel, arguments.out))
    return 0


def hot_modules(package: Path) -> list[Path]:
    """The modules to compile, below the package's folder, which is as the wheel has it."""
    modules: list[Path] = []
    for name in HOT:
        path = package / name
        modules += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    interpreted = {package / name for name in INTERPRETED}
    return [
        module
        for module in modules
        if module.name != "__init__.py" and module not in interpreted and not _defines_structs(module)
    ]


def _defines_structs(module: Path) -> bool:
    """True if the module defines structs: mypyc would take their annotations and options away, without a word."""
    classes = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.ClassDef)]
    return any(ast.unparse(base).endswith("Struct") for node in classes for base in node.bases)


def _build_pure(folder: Path) -> Path:
    _run("build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _compile(pure: Path, tree: Path, work: Path, opt_level: str) -> None:
    """Unpack the wheel, and put the compiled modules beside the others."""
    # Only here: nobody else needs it.
    from setuptools import Distribution

    with zipfile.ZipFile(pure) as archive:
        archive.extractall(tree)
    package = tree / "backbeat"
    (package / hot_records.PLACE).write_text(hot_records.source())
    modules = [str(module.relative_to(tree)) for module in (package / hot_records.PLACE, *hot_modules(package))]
    print(f"Compiling {len(modules)} modules …", flush=True)
    extensions = translate(tree, modules, work / "c", opt_level)
    with contextlib.chdir(tree):
        command = Distribution({"name": "backbeat", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(tree), str(work / "objects")
        command.ensure_finalized()
        command.run()
    shutil.rmtree(tree / ".mypy_cache", ignore_errors=True)


def translate(tree: Path, modules: Sequence[str], target: Path, opt_level: str = _OPTIMISED) -> list[Any]:
    """The modules, paths below `tree`, as C extensions. SystemExit: they cannot be compiled; its text says why."""
    # Only here: it takes a second, and tests read HOT.
    from mypyc.build import mypycify

    # The checkout's own configuration, wherever the tree lies.
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--ignore-missing-imports"]
    messages = io.StringIO()
    try:
        with contextlib.chdir(tree), contextlib.redirect_stdout(messages):
            extensions = mypycify([*options, *modules], group_name=LIBRARY, target_dir=str(target), opt_level=opt_level)
    except SystemExit as end:
        sys.exit(f"{messages.getvalue()}{end.code}\n`mypyc` failed; what it said is above.")
    # What is to be read piece by piece would be read at once.
    if "as list" in messages.getvalue():
        sys.exit(f"{messages.getvalue()}\nWrite a generator function instead of these expressions.")
    return extensions


def _pack(tree: Path, folder: Path) -> Path:
    (about,) = tree.glob("*.dist-info/WHEEL")
    about.write_text(about.read_text().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false"))
    folder.mkdir(parents=True)
    _run("wheel", "pack", "--dest-dir", str(folder), str(tree))
    (wheel,) = folder.glob("*.whl")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tags = ["--python-tag", python, "--abi-tag", python, "--platform-tag", platform]
    _run("wheel", "tags", "--remove", *tags, str(wheel))
    (tagged,) = folder.glob("*.whl")
    return tagged


def _run(module: str, *words: str) -> None:
    result = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{result.stdout}{result.stderr}\n`python -m {module}` failed; what it said is above.")


if __name__ == "__main__":
    sys.exit(main())
