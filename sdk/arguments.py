"""A handler's arguments, from JSON values to what its annotations say.

An annotation that JSON has itself (`int`, `dict[str, str]`, `Any`, none at all) changes and checks nothing. Any other
is what the argument is made into: dataclasses, msgspec structs, times, UUIDs, decimals, enums and unions and lists of
them by msgspec, pydantic models by pydantic. Annotations that neither knows are left alone.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

import msgspec

from backbeat.errors import Fail

_Converter = Callable[[Any], Any]
#: What JSON values are already.
_JSON_KINDS = {Any, object, str, int, float, bool, list, dict, tuple, NoneType, None, inspect.Parameter.empty}


class Arguments:
    """What the annotations of one function make of the arguments that it is called with."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._by_name: dict[str, _Converter] = {}
        self._by_place: list[tuple[str, _Converter | None]] = []
        self._rest: _Converter | None = None
        self._other: _Converter | None = None
        for parameter, annotation in _annotations(function):
            converter = converter_for(annotation)
            match parameter.kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    self._rest = converter
                case inspect.Parameter.VAR_KEYWORD:
                    self._other = converter
                case kind:
                    if kind is not inspect.Parameter.KEYWORD_ONLY:
                        self._by_place.append((parameter.name, converter))
                    if converter is not None:
                        self._by_name[parameter.name] = converter
        #: Whether no argument is changed: then there is nothing to call.
        self.are_plain = not (self._by_name or self._rest or self._other)

    def by_place(self, values: Sequence[Any]) -> list[Any]:
        """Positional arguments. Fail, which names the argument: trying again cannot help."""
        places = self._by_place
        known = zip(places, values, strict=False)
        found = [value if to is None else self._convert(to, name, value) for (name, to), value in known]
        rest = values[len(places) :]
        if self._rest is None:
            return [*found, *rest]
        return [*found, *(self._convert(self._rest, f"*{len(places) + at}", one) for at, one in enumerate(rest))]

    def by_name(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments. Fail as above."""
        found = {}
        for name, value in values.items():
            to = self._by_name.get(name, None if any(name == known for known, _ in self._by_place) else self._other)
            found[name] = value if to is None else self._convert(to, name, value)
        return found

    def _convert(self, to: _Converter, name: str, value: Any) -> Any:
        try:
            return to(value)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            raise Fail(f"argument {name} of {self._name!r} is not what its annotation says: {_why(error)}") from None


def _why(error: Exception) -> str:
    """Where and what, without the value: it may have been encrypted, and the tree shows the text to many."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details())


def converter_for(annotation: Any) -> _Converter | None:
    """What makes a JSON value into what an annotation says; None: it stays as it is."""
    if is_plain(annotation):
        return None
    validate = getattr(annotation, "model_validate", None)
    if callable(validate):
        return typing.cast("_Converter", validate)
    try:
        msgspec.json.schema(annotation)
    except (TypeError, RuntimeError):
        return None
    return lambda value: msgspec.convert(value, annotation)


def is_plain(annotation: Any) -> bool:
    """Whether JSON has values of this kind itself."""
    arguments = typing.get_args(annotation)
    if not arguments:
        try:
            return annotation in _JSON_KINDS
        except TypeError:
            return False
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return False
    kinds = {list, dict, tuple, typing.Union, Sequence, Mapping, type(int | str)}
    return origin in kinds and all(one is ... or is_plain(one) for one in arguments)


def _annotations(function: Callable[..., Any]) -> list[tuple[inspect.Parameter, Any]]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    try:
        known = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # Names that only a type checker sees: such a handler takes JSON values.
        known = {}
    return [(one, known.get(one.name, inspect.Parameter.empty)) for one in parameters]
