"""The modules that a compiled wheel has compiled, and the way past them."""

import importlib
import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import msgspec
import pytest

from backbeat.streams import compiled
from compose.setup.wheels import HOT, INTERPRETED, hot_modules, translate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path):
    """The package's folder as a wheel has it."""
    for name in ("compose", "gateway", "schemas", "streams"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def name_of(module, package):
    return ".".join(("backbeat", *module.relative_to(package).with_suffix("").parts))


def test_what_is_named_is_there(package):
    assert [name for name in (*HOT, *INTERPRETED) if not (package / name).exists()] == []


def test_no_compiled_module_defines_a_struct(package):
    """mypyc takes a struct's annotations and options away without a word."""
    modules = hot_modules(package)
    assert len(modules) > 40
    for module in modules:
        content = vars(importlib.import_module(name_of(module, package)))
        own_classes = [
            kind for kind in content.values() if isinstance(kind, type) and kind.__module__ == content["__name__"]
        ]
        assert [kind for kind in own_classes if issubclass(kind, msgspec.Struct)] == [], module


def test_a_module_with_a_struct_is_left_out(package):
    hot = {name_of(module, package) for module in hot_modules(package)}
    assert "backbeat.streams.core.step" in hot
    assert "backbeat.streams.core.records" not in hot
    assert "backbeat.streams.core.tables" not in hot


def test_a_module_that_cannot_be_compiled_ends_with_the_reason(tmp_path):
    (tmp_path / "wrong.py").write_text("def double(number: int) -> str:\n    return 2 * number\n")

    with pytest.raises(SystemExit, match=r"wrong\.py:2: error: Incompatible return value type"):
        translate(tmp_path, ["wrong.py"], tmp_path / "c")


RUN = "from backbeat.streams import compiled; print(compiled.is_compiled()); import backbeat.streams.core"


@pytest.mark.parametrize(("variable", "outcome"), [("1", "False"), ("", "True")])
def test_modules_in_python_run_where_that_is_asked_for(tmp_path, variable, outcome):
    """Beside files that cannot be loaded: who takes one ends."""
    folder = tmp_path / "backbeat"
    core = folder / "streams" / "core"
    core.mkdir(parents=True)
    links = {folder: [*(ROOT / "sdk").iterdir(), *(ROOT / name for name in ("gateway", "schemas"))]}
    links[folder / "streams"] = [file for file in (ROOT / "streams").iterdir() if file.name != "core"]
    links[core] = list((ROOT / "streams" / "core").iterdir())
    for place, targets in links.items():
        for target in targets:
            (place / target.name).symlink_to(target)
    for name in ("dispatch", "gone"):
        (core / f"{name}{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")

    environment = {**os.environ, "PYTHONPATH": str(tmp_path), compiled.PURE_VARIABLE: variable}
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.split() == [outcome]
    assert (done.returncode == 0) is (outcome == "False"), done.stderr
    assert ("invalid ELF" in done.stderr or "ImportError" in done.stderr) is (outcome == "True"), done.stderr
