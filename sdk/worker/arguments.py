"""A handler's arguments, from JSON values to what its annotations say.

An annotation that JSON has itself (`int`, `dict[str, str]`, `Any`, none at all) changes and checks nothing. Any other
is what the argument is made into: dataclasses, msgspec structs, times, UUIDs, decimals, enums, tuples and what holds
them by msgspec, pydantic's models and what only pydantic tells apart (a union of two dataclasses, `Field`) by pydantic.
What neither can make is refused when the handler is registered; where its parameter has a default, once it is given.
"""

from __future__ import annotations

import collections.abc as kinds
import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from backbeat.activities.taken import Results
from backbeat.errors import BackbeatError, Fail
from backbeat.schemas.requests.decoding import prepare
from backbeat.worker.taken_results import slot_of

#: Converter of a JSON value to what an annotation says.
Converter = Callable[[Any], Any]
#: Annotations of JSON's own kinds.
_JSON_KINDS = {
    *(Any, object, str, int, float, bool, list, dict, types.NoneType, None, inspect.Parameter.empty),
    *(kinds.Sequence, kinds.Mapping, kinds.Iterable, kinds.Collection),
}
_UNIONS = {typing.Union, types.UnionType}


class Arguments:
    """Converters of a function's arguments, from its annotations.

    BackbeatError, which names the parameter, for an annotation that nothing can be made into.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._by_name: dict[str, Converter] = {}
        self._by_place: list[tuple[str, Converter | None]] = []
        #: Parameters annotated with `Results`.
        self._of_results: set[str] = set()
        self._rest: Converter | None = None
        self._other: Converter | None = None
        for parameter in _parameters(function):
            converter = self._converter_of(parameter, function)
            if isinstance(converter, ResultsConverter):
                converter.label = f"the results {parameter.name} of {name!r}"
                self._of_results.add(parameter.name)
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
        #: True: no argument is changed, and there is no converter to call.
        self.are_plain = not (self._by_name or self._rest or self._other)

    def places_of_results(self, params: Any) -> dict[int | str, int]:
        """Slots of the results that parameters annotated with `Results` are given, by their places in the arguments."""
        places: dict[int | str, int] = {}
        if not self._of_results or not isinstance(params, dict | list):
            return places
        items = params.items() if isinstance(params, dict) else enumerate(params)
        for place, value in items:
            slot = slot_of(value) if self._name_at(place) in self._of_results else None
            if slot is not None:
                places[place] = slot
        return places

    def _name_at(self, place: int | str) -> str | None:
        """The parameter that an argument goes to, by its place or name."""
        if isinstance(place, str):
            return place
        return self._by_place[place][0] if place < len(self._by_place) else None

    def by_place(self, values: Sequence[Any]) -> list[Any]:
        """Positional arguments. Fail, which names the argument: trying again cannot help."""
        places = self._by_place
        named = zip(places, values, strict=False)
        converted = [value if to is None else self._convert(to, name, value) for (name, to), value in named]
        rest = values[len(places) :]
        if self._rest is None:
            return [*converted, *rest]
        numbered = enumerate(rest, start=len(places))
        return [*converted, *(self._convert(self._rest, f"*{number}", value) for number, value in numbered)]

    def by_name(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments. Fail as above."""
        converted = {}
        for name, value in values.items():
            to = self._by_name.get(name, None if any(name == known for known, _ in self._by_place) else self._other)
            converted[name] = value if to is None else self._convert(to, name, value)
        return converted

    def _converter_of(self, parameter: inspect.Parameter, function: Callable[..., Any]) -> Converter | None:
        try:
            return converter_for(_resolved(parameter.name, parameter.annotation, function))
        except UnknownAnnotationError as error:
            annotation = _annotation_text(parameter.annotation)
            text = f"parameter {parameter.name} of {self._name!r} is annotated with {annotation}, {error}"
            if parameter.default is inspect.Parameter.empty:
                raise BackbeatError(text) from None
            default = parameter.default
            return lambda value: default if value is None and default is None else _refuse(text)

    def _convert(self, to: Converter, name: str, value: Any) -> Any:
        try:
            return to(value)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            raise Fail(
                f"argument {name} of {self._name!r} is not what its annotation says: {reason_of(error)}"
            ) from None


class ResultsConverter:
    """Converter to `Results`, of a parameter that is annotated with it: the values are converted as they are read.

    A union of it and other kinds: what is neither a list nor `Results` is of those.
    """

    def __init__(self, annotation: Any) -> None:
        arms = typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else (annotation,)
        of_results = next(filter(is_results, arms))
        (item,) = typing.get_args(of_results) or (Any,)
        self._convert_item = converter_for(item)
        others = tuple(arm for arm in arms if arm is not of_results)
        self._is_alone = not others
        self._convert_other = converter_for(typing.Union[others]) if others else None  # noqa: UP007 - of a tuple
        #: Name of the parameter, for errors.
        self.label = "results"

    def __call__(self, value: Any) -> Any:
        """The results, also where somebody gave a plain list."""
        if isinstance(value, list | Results):
            results = value if isinstance(value, Results) else Results.of(value)
            return results.converted(None if self._convert_item is None else self._item)
        if self._is_alone:
            raise TypeError(f"the results of a group are a list, not {type(value).__name__}")
        return value if self._convert_other is None else self._convert_other(value)

    def _item(self, value: Any) -> Any:
        assert self._convert_item is not None, "values that stay as they are"
        try:
            return self._convert_item(value)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            message = f"one of {self.label} is not what its annotation says: {reason_of(error)}"
            raise Fail(message) from None


def is_results(annotation: Any) -> bool:
    """True: it is `Results`, with or without the kind of its values, or a union that has it."""
    if typing.get_origin(annotation) in _UNIONS:
        return any(map(is_results, typing.get_args(annotation)))
    return annotation is Results or typing.get_origin(annotation) is Results


class UnknownAnnotationError(TypeError):
    """An annotation that no JSON value can be made into; the text goes on after its name."""


def result_converter(function: Callable[..., Any]) -> Converter | None:
    """Converter of a result to what a function says that it returns; None: it stays as JSON has it.

    That is so, too, where nothing can be made into what it says.
    """
    try:
        annotation = inspect.signature(function).return_annotation
        return converter_for(_resolved("return", annotation, function))
    except (TypeError, ValueError):
        return None


def _refuse(text: str) -> typing.NoReturn:
    raise ValueError(text)


def reason_of(error: Exception) -> str:
    """Place and reason, without the value: it may have been encrypted, and the tree shows the text to many."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details())


def converter_for(annotation: Any) -> Converter | None:
    """Converter of JSON values to what an annotation says; None: they stay as they are. UnknownAnnotationError."""
    if is_plain(annotation):
        return None
    if is_results(annotation):
        return ResultsConverter(annotation)
    validate = _model_validate(annotation)
    if validate is not None:
        return validate
    if not _has_pydantics_words(annotation):
        try:
            msgspec.json.schema(annotation, schema_hook=_schema_of_model)
        except (TypeError, RuntimeError, NotImplementedError):
            # Of no kind that msgspec has, or a union that it does not tell apart.
            pass
        else:
            # Handlers run in several threads, and each converts its own.
            prepare(annotation)
            return lambda value: msgspec.convert(value, annotation, str_keys=True, dec_hook=_make_model)
    try:
        import pydantic  # noqa: PLC0415 - who annotates with its words has it
    except ImportError:
        raise UnknownAnnotationError(_UNKNOWN) from None
    try:
        return pydantic.TypeAdapter(annotation).validate_python
    except Exception:  # noqa: BLE001 - the library raises several, and what an annotation's own code raises
        raise UnknownAnnotationError(_UNKNOWN) from None


_UNKNOWN = (
    "which no JSON value can be made into. What to do: a dataclass, a msgspec struct, a pydantic model or what JSON "
    "has; or Any, and the handler makes it"
)


def _model_validate(kind: Any) -> Converter | None:
    validate = getattr(kind, "model_validate", None)
    return validate if isinstance(kind, type) and callable(validate) else None


def _schema_of_model(kind: Any) -> dict[str, Any]:
    if _model_validate(kind) is None:
        raise NotImplementedError
    return {"type": "object"}


def _make_model(kind: Any, value: Any) -> Any:
    validate = _model_validate(kind)
    if validate is None:
        raise NotImplementedError
    try:
        return validate(value)
    except ValueError as error:
        # Its text shows the value.
        raise ValueError(reason_of(error)) from None


def _has_pydantics_words(annotation: Any) -> bool:
    """True: pydantic's `Field` or its like stands in an annotation. msgspec would pass it over."""
    if typing.get_origin(annotation) is typing.Annotated:
        words = (type(word).__module__.partition(".")[0] for word in annotation.__metadata__)
        if any(word in ("pydantic", "annotated_types") for word in words):
            return True
    return any(_has_pydantics_words(argument) for argument in typing.get_args(annotation))


def is_plain(annotation: Any) -> bool:
    """True: JSON has values of this kind itself."""
    arguments = typing.get_args(annotation)
    if not arguments:
        try:
            return annotation in _JSON_KINDS or isinstance(annotation, typing.TypeVar)
        except TypeError:
            return False
    origin = typing.get_origin(annotation)
    if origin in (dict, kinds.Mapping):
        # The keys of a JSON object are text.
        return arguments[0] in (str, Any, object) and is_plain(arguments[1])
    return (origin in _UNIONS or origin in _JSON_KINDS) and all(is_plain(argument) for argument in arguments)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _resolved(name: str, annotation: Any, function: Callable[..., Any]) -> Any:
    """A parameter's annotation, also where it is written as text. UnknownAnnotationError: its names are not there."""
    if annotation is inspect.Parameter.empty:
        return annotation
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    code = _code_of(function)
    try:
        names = getattr(code, "__globals__", {})
        return typing.get_type_hints(holder, names, _closure_of(code), include_extras=True)[name]
    except NameError as error:
        raise UnknownAnnotationError(
            f"and {error}. What to do: import or define it in the handler's module, outside of `if TYPE_CHECKING:` and "
            "of functions; or annotate with Any"
        ) from None
    except (TypeError, AttributeError, SyntaxError) as error:
        raise UnknownAnnotationError(f"which cannot be read: {error}") from None


def _closure_of(code: Any) -> dict[str, Any]:
    """The enclosing functions' variables that a function uses, by name; without those that are assigned later."""
    values = {}
    for name, cell in zip(
        getattr(getattr(code, "__code__", None), "co_freevars", ()),
        getattr(code, "__closure__", None) or (),
        strict=True,
    ):
        with contextlib.suppress(ValueError):
            values[name] = cell.cell_contents
    return values


def _code_of(function: Callable[..., Any]) -> Any:
    """The function in whose module the names of the annotations are."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if not inspect.isroutine(function) and not isinstance(function, type):
        function = type(function).__call__
    return inspect.unwrap(getattr(function, "__func__", function))


def _annotation_text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None) or repr(annotation)
