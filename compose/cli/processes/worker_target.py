"""Target of `backbeat worker MODULE[:ATTRIBUTE]`: a Worker, or activities."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from backbeat import BackbeatError, Worker
from backbeat.activities.definition import ActivityFunction, declared_in
from backbeat.compose.cli.exit_codes import CommandError

AnyActivity = ActivityFunction[..., Any]


def load(targets: Sequence[str]) -> Worker | list[AnyActivity]:
    """The Worker of the target, or all activities of the targets, each once.

    UsageError: there is no such module or attribute, or nothing to run in it. CommandError: a module's own code fails.
    """
    activities: list[AnyActivity] = []
    for target in targets:
        value = _runnable(resolve(target), target)
        if not isinstance(value, Worker):
            activities += value
        elif len(targets) == 1:
            return value
        else:
            raise click.UsageError(f"{target} is a Worker, and one runs alone: start a process for each.")
    return list(dict.fromkeys(activities))


def resolve(target: str) -> Any:
    """The object of a target."""
    name, _, path = target.partition(":")
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").removeprefix("./").strip("/").replace("/", ".")
        raise click.UsageError(f"{name} is a path. Name the module: {module}{path and ':'}{path}")
    if not name or name.startswith("."):
        raise click.UsageError(f"{target!r} names no module. The form is MODULE:ATTRIBUTE, as in orders:worker")
    value: Any = _imported(name)
    for attribute in path.split(".") if path else ():
        if not hasattr(value, attribute):
            raise click.UsageError(
                f"{target}: {name} has no {attribute!r}.{_nearest(attribute, _public(value))}{_choices(name, value)}"
            )
        value = getattr(value, attribute)
    return value


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            # It is there, and something that it imports is not.
            raise _failed(name, error) from error
        package = missing.rpartition(".")[0]
        folders = getattr(sys.modules.get(package), "__path__", []) if package else [str(Path.cwd())]
        modules = [f"{package}.{module.name}" if package else module.name for module in pkgutil.iter_modules(folders)]
        place = f"the package {package}" if package else f"{Path.cwd()}, nor among the installed packages"
        raise click.UsageError(f"there is no module {missing!r} in {place}.{_nearest(missing, modules)}") from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> CommandError:
    """The error of a module's own code, with the traceback from its first line on."""
    at, our_files = error.__traceback__, (__file__, importlib.__file__, "<frozen importlib")
    while at is not None and at.tb_frame.f_code.co_filename.startswith(our_files):
        at = at.tb_next
    lines = "".join(traceback.format_exception(type(error), error, at))
    return CommandError(f"the module {name} cannot be imported.\n{lines.rstrip()}")


def _runnable(value: Any, target: str) -> Worker | list[AnyActivity]:
    """A Worker or activities. UsageError: it is neither, or there is nothing to run."""
    match value:
        case Worker():
            if not value.runner.handlers.names:
                raise click.UsageError(f"{target}: nothing is registered with this Worker: Worker(activities=[…])")
            return value
        case ModuleType():
            return _runnable_of_module(value)
        case ActivityFunction():
            return [value]
        case list() | tuple() | set() | frozenset():
            if not value:
                raise click.UsageError(f"{target} is empty: nothing is to be run.")
            return [activity for item in value for activity in _activities(item, target)]
        case _:
            advice = " Put @backbeat.activity above it." if callable(value) and not isinstance(value, type) else ""
            raise click.UsageError(
                f"{target} is of type {type(value).__name__}, and no Worker, activity or list of activities.{advice}"
            )


def _activities(item: Any, target: str) -> list[AnyActivity]:
    """Activities of an item of a list: itself, or all of a module."""
    runnable = _runnable(item, f"{item!r} in {target}")
    if isinstance(runnable, Worker):
        raise click.UsageError(f"{target} has a Worker in it: name that one, or activities.")
    return runnable


def _runnable_of_module(module: ModuleType) -> Worker | list[AnyActivity]:
    """A module's only Worker, else all activities that it declares, or its submodules; not those that it imports."""
    workers = {id(value): name for name, value in vars(module).items() if isinstance(value, Worker)}
    if len(workers) > 1:
        names = ", ".join(f"{module.__name__}:{name}" for name in workers.values())
        raise click.UsageError(f"{module.__name__} has several Workers: name one ({names}).")
    for name in workers.values():
        return _runnable(getattr(module, name), f"{module.__name__}:{name}")
    try:
        return declared_in(module)
    except BackbeatError as error:
        raise click.UsageError(
            f"{error}, and has no Worker. Put @backbeat.activity above a function, or name the module or the list that "
            "has some."
        ) from error


def _public(value: Any) -> list[str]:
    return [name for name in dir(value) if not name.startswith("_")]


def _nearest(word: str, names: Iterable[str]) -> str:
    return "".join(f" Did you mean {match!r}?" for match in difflib.get_close_matches(word, names, 1))


def _choices(name: str, value: Any) -> str:
    """Text: the targets that a module has."""
    members = getattr(value, "__dict__", {})
    targets = [
        fitting_name for fitting_name, member in members.items() if isinstance(member, Worker | ActivityFunction)
    ]
    return f" There are: {', '.join(f'{name}:{target}' for target in targets)}" if targets else ""
