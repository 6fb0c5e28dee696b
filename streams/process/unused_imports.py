"""Modules that Faust imports for types and tasks that an engine does not have: placeholders while it is imported.

aiohttp is there for the type of a client that nobody makes, croniter for tasks at times of day, yaml for a codec: over
a third of what importing Faust costs at each start. Outside of the block the modules are what they are.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_MODULES = ("aiohttp", "aiohttp.client", "croniter", "croniter.croniter", "yaml")


class _Placeholder(ModuleType):
    """A module in which every name is a class without anything in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def unused_imports() -> Iterator[None]:
    """Have placeholders in the place of those modules that are not imported yet."""
    placeholders = {name: _Placeholder(name) for name in _MODULES if name.partition(".")[0] not in sys.modules}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        for name in placeholders:
            del sys.modules[name]
