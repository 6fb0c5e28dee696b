"""Results of children as arguments of later ones: references, which the engine replaces by the values.

    price = order.add(get_price, sku)
    order.add(charge, customer, price.result)

A reference may stand anywhere in arguments. In JSON it is the place (slot) of a result in the node's `takes`: so it may
be encrypted, and the id of the node that it is of be worked out later (docs/reference/wire.md).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Generic, NoReturn, TypeVar, cast

import msgspec

from backbeat.activities.taken import Results
from backbeat.codecs import MARK
from backbeat.payload.json_values import to_builtin
from backbeat.payload.values import invalid
from backbeat.schemas.messages.values import NewNode, Take

R = TypeVar("R")
D = TypeVar("D")
T = TypeVar("T")
#: Results that one node can take; those of a group are one.
TAKES_MAX = 900


class Taking(NewNode, frozen=True, kw_only=True):
    """A node that takes results: whose they are is known once its command is made."""

    results: tuple[Result, ...] = ()


class Slots:
    """The results that one node takes, while its arguments are written."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.results: list[Result] = []
        self._by_key: dict[tuple[Any, ...], int] = {}
        self.written_count = 0

    def reference(self, result: Result) -> Any:
        """Reference to a result in JSON."""
        if result.owner is not self.owner:
            raise _misused("given to a child of another activity: only this activity's own children can take it")
        if result.place is None and result.node_id is None:
            return []  # Of a group without members.
        self.written_count += 1
        key = (result.place, result.node_id, result.of_children, result.default)
        slot = self._by_key.setdefault(key, len(self.results))
        if slot == len(self.results):
            self.results.append(result)
        return {MARK: {"results" if result.of_children else "result": slot}}


_slots: ContextVar[Slots | None] = ContextVar("backbeat_slots", default=None)


def written(owner: object, write: Callable[[], T]) -> tuple[T, Slots]:
    """What `write` gives, and the results of an activity that stand in what it has written."""
    slots = Slots(owner)
    token = _slots.set(slots)
    try:
        return write(), slots
    finally:
        _slots.reset(token)


def check_marks(arguments: Any, owner: object) -> None:
    """Refuse an object with the key of references that is none, beside some that are. InvalidParameters."""
    text, slots = written(owner, lambda: msgspec.json.encode(arguments, enc_hook=to_builtin))
    if text.count(b'"%s":' % MARK.encode()) > slots.written_count:
        raise invalid(
            f"The arguments have an object with the key {MARK!r} beside results of other activities: that key is "
            "Backbeat's own there",
            MARK,
            "another key",
        )


def _misused(problem: str) -> TypeError:
    return TypeError(
        f"this is the result of an activity that has not run yet, and it is {problem}. What to do: give it as it is to "
        "add() or spread(): the activity that is added gets the value once it is there"
    )


class Result:
    """A reference to a result. For a type checker it is the value itself; all but passing it on is a TypeError."""

    __slots__ = ("default", "node_id", "of_children", "owner", "place")

    def __init__(
        self,
        owner: object,
        place: int | None,
        *,
        node_id: bytes | None = None,
        of_children: bool = False,
        default: bytes | None = None,
    ) -> None:
        #: The running activity.
        self.owner = owner
        #: Place among what it has added; None: the node is known by `node_id`, or is a group without members.
        self.place = place
        self.node_id = node_id
        self.of_children = of_children
        #: JSON text of the value where there will be no result; None: the taker is deactivated then.
        self.default = default

    def take(self, added_ids: list[bytes]) -> Take:
        """The reference as the engine has it. `added_ids`: the ids of what its activity has added."""
        node_id = self.node_id if self.place is None else added_ids[self.place]
        assert node_id is not None, "a group without members takes nothing"
        return Take(node_id, self.of_children, self.default)

    def to_builtin(self) -> Any:
        """Its reference in JSON (`to_builtin`)."""
        slots = _slots.get()
        if slots is None:
            raise _misused("written where no result can be taken: a signal's arguments, metadata or a return value")
        return slots.reference(self)

    def __repr__(self) -> str:
        return "<the result of an activity that has not run yet>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(str(_misused(f"asked for its attribute {name!r}")))


def _refusal(problem: str) -> Any:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise _misused(problem)

    return refuse


for _problem, _names in {
    "compared": ("eq", "ne", "lt", "le", "gt", "ge"),
    "used as a condition": ("bool",),
    "iterated, or asked for its length or items": ("iter", "len", "getitem", "contains", "reversed", "next", "aiter"),
    "used as a number": (
        *("int", "float", "index", "complex", "round", "neg", "pos", "abs", "invert", "trunc", "floor", "ceil"),
        *(
            prefix + name
            for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul")
            for prefix in ("", "r")
        ),
        *(prefix + name for name in ("and", "or", "xor", "lshift", "rshift") for prefix in ("", "r")),
    ),
    "written as text": ("str", "format", "bytes"),
    "used as a key": ("hash",),
    "called": ("call",),
}.items():
    for _name in _names:
        setattr(Result, f"__{_name}__", _refusal(_problem))


class Child(Generic[R]):
    """A child that was added. Its `result` can be an argument of what is added after it."""

    __slots__ = ("_owner", "_pack", "place")

    def __init__(self, owner: object, place: int, pack: Any) -> None:
        self._owner = owner
        self._pack = pack
        #: Place among what its activity has added.
        self.place = place

    @property
    def result(self) -> R:
        """What its handler returns, as an argument: who takes it starts once it is complete.

        If it ends without one (it is canceled, reset or shut down), who takes it is deactivated with it.
        """
        return cast("R", Result(self._owner, self.place))

    def result_or(self, default: D) -> R | D:
        """As `result`; where it ends without one, who takes it gets `default`."""
        return cast("R", Result(self._owner, self.place, default=self._pack("default", default)))

    def __repr__(self) -> str:
        return f"<child {self.place}>"


class Group(int, Generic[R]):
    """Children that were spread. It is their number; their `results` can be an argument of what is added after them."""

    _owner: object
    _pack: Any
    _problem: str
    #: Place among what its activity has added; None: it has no members.
    place: int | None

    @classmethod
    def of(cls, owner: object, count: int, place: int | None, pack: Any, problem: str) -> Group[R]:
        """A group of so many. `problem`: why its results cannot be taken; empty: they can."""
        group: Group[R] = cls(count)
        group._owner, group.place, group._pack, group._problem = owner, place, pack, problem
        return group

    @property
    def results(self) -> Results[R]:
        """The list of their results, in the order of the values, as an argument: see `Child.result`.

        A handler that annotates its parameter with `list` gets a list, with `Results` one that is read page by page.
        """
        return cast("Results[R]", self._taken(None))

    def results_or(self, default: D) -> Results[R] | D:
        """As `results`; where one of them ends without a result, who takes them gets `default`."""
        return cast("Results[R]", self._taken(self._pack("default", default)))

    def to_builtin(self) -> int:
        """The number of its members, as JSON has it."""
        return int(self)

    def _taken(self, default: bytes | None) -> Result:
        if self._problem:
            raise invalid(self._problem, "fire_and_forget", "blocking or non_blocking")
        return Result(self._owner, self.place, of_children=True, default=default)
