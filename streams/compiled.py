"""Compiled modules of the engine: whether this installation has them, and how they are left away.

A wheel for one Python and platform has, beside each module of the hot path, what mypyc made of it (`make wheels`). Both
behave the same; the pure one is the default.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import PathEntryFinder

    # For mypyc alone, so that nobody needs the package: a class that is compiled, and that tests extend in Python.
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_: bool) -> Callable[[type], type]:
        """Decorator that changes nothing."""
        return lambda cls: cls


__all__ = ["PURE_VARIABLE", "is_compiled", "mypyc_attr", "prefer_python"]

#: Set to anything: the modules in Python run, whatever lies beside them.
PURE_VARIABLE = "BACKBEAT_PURE"
_FOLDER = Path(__file__).parent
_python_finder = FileFinder.path_hook((SourceFileLoader, SOURCE_SUFFIXES))


def is_compiled() -> bool:
    """True if the compiled modules run. Imports nothing."""
    has_compiled = any((_FOLDER / "core" / f"dispatch{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)
    return has_compiled and not os.environ.get(PURE_VARIABLE)


def prefer_python() -> None:
    """Import the engine's modules from Python from now on."""
    sys.path_hooks.insert(0, _find_python)


def _find_python(path: str) -> PathEntryFinder:
    if not Path(path).is_relative_to(_FOLDER):
        raise ImportError
    return _python_finder(path)
