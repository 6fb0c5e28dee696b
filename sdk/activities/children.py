"""Children, groups of them and signals of a running activity, as the structs of commands."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from backbeat.activities.definition import CHILD_WORDS, ActivityFunction, BoundActivity, ChildOptions
from backbeat.activities.environment import Defaults, NodeEnvironment
from backbeat.activities.follow_ups import check_plain, followings
from backbeat.activities.results import TAKES_MAX, Taking, check_marks, written
from backbeat.activities.retry import child_rule
from backbeat.client.words import check_options
from backbeat.errors import BackbeatError, LimitExceeded
from backbeat.payload.values import (
    LIMITS,
    Arguments,
    ModeWord,
    invalid,
    to_client_data,
    to_id,
    to_json,
    to_metadata,
    to_milliseconds,
    to_mode,
    to_priority,
    to_text,
    to_timeout,
)
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import OpenLink, Signal
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.values import Awaits, FollowUp, NewNode
from backbeat.schemas.messages.views import NodeView

#: An activity where a child of it is added: its name, its function, or that with options.
Named = str | Callable[..., Any] | BoundActivity[..., Any]


class Group(NamedTuple):
    """Children that are joined: a flag, which completes once all nodes below it are complete."""

    flag: NewNode
    members: tuple[NewNode, ...]


def named(activity: Named, environment: NodeEnvironment) -> tuple[str, Defaults | None]:
    """Name of an activity, and the defaults for its children, where they are known."""
    if isinstance(activity, BoundActivity):
        activity = activity.activity
    known = environment.defaults(activity)
    if isinstance(activity, ActivityFunction):
        # A worker may know it by other words than its declaration; one that does not run it knows those.
        return activity.name, known or activity.declared
    if isinstance(activity, str):
        return activity, known
    if known is None:
        raise BackbeatError(f"{activity!r} is not registered as an activity; give a name")
    return known.name, known


def arguments(activity: Named, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Arguments, ChildOptions]:
    """Arguments of the handler, and options of the child, from the words of an `add`."""
    if isinstance(activity, BoundActivity):
        handler_arguments, options = activity.activity.arguments(args, given)
        all_options: dict[str, Any] = {**activity.options, **options}
        check_options("add", all_options, CHILD_WORDS)
        return handler_arguments, all_options  # type: ignore[return-value]  # its words were checked
    if isinstance(activity, ActivityFunction):
        return activity.arguments(args, given)
    check_options("add", given, CHILD_WORDS, "; a handler's keyword arguments go into params")
    if given.get("params") is not None and args:
        raise TypeError("give positional arguments or params, not both")
    return args, given  # type: ignore[return-value]  # its words were checked


def make_child(
    parent: NodeView,
    name: str,
    known: Defaults | None,
    args: Arguments,
    options: ChildOptions,
    *,
    environment: NodeEnvironment,
    owner: object = None,
) -> NewNode:
    """The node to be made below `parent`. What the engine would refuse is refused here (`Rejected`).

    `owner`: the activity whose results may stand in the arguments.
    """
    _check_depth(parent.depth + 1)
    mode, timeout = options.get("mode"), options.get("timeout")
    if known is not None:
        mode = mode or known.mode
        timeout = known.timeout if timeout is None else timeout
    to_text("A name", name)
    kind = to_text("type", options.get("type", "activity"))
    if options.get("fairness_key") is not None:
        to_text("fairness_key", options.get("fairness_key"), may_be_empty=True)
    follow_ups = _follow_ups(known, args, options, environment, owner)
    params, at, link = options.get("params"), options.get("at"), options.get("link")
    client_data, slots = written(
        owner,
        lambda: to_client_data(
            name,
            args if params is None else params,
            options.get("client_data"),
            timeout,
            environment.pack,
        ),
    )
    fields: dict[str, Any] = dict(
        name=name,
        user_id=environment.user_id(options.get("client")),
        mode=to_mode(mode or "blocking"),
        type=kind,
        client_data=client_data,
        metadata=to_metadata(options.get("metadata")),
        fires_at=None if at is None else to_milliseconds(at, environment.now()),
        parent_link_id=None if link is None else to_id(link, "link"),
        priority=to_priority(options.get("priority")),
        fairness_key=options.get("fairness_key"),
        follow_ups=follow_ups,
        **child_rule(options, None if known is None else known.retry).fields,
    )
    if not slots.results:
        return NewNode(**fields)
    if len(slots.results) > TAKES_MAX:
        message = f"{name!r} takes {len(slots.results)} results; {TAKES_MAX} is the most"
        raise LimitExceeded(Reason.LIMIT_EXCEEDED, message, str(len(slots.results)), "the results of a group, as one")
    check_marks(args if params is None else params, owner)
    return Taking(**fields, results=tuple(slots.results))


def count_allowed(failures_allowed: object, count: int, *, are_awaited: bool) -> int:
    """Count of the members that may fail: as given, or a share of them. InvalidParameters."""
    given = f"failures_allowed is {failures_allowed!r}"
    if isinstance(failures_allowed, bool) or not isinstance(failures_allowed, int | float):
        raise TypeError(f"{given}; give a count (5), or a share of the values (0.01)")
    if failures_allowed and not are_awaited:
        raise invalid(f"{given}, and the members are fire_and_forget: nobody waits for them", "fire_and_forget", "0")
    if isinstance(failures_allowed, float):
        if not 0 <= failures_allowed <= 1:
            raise invalid(f"{given}; as a share it is from 0 to 1, a count is written as 5", given, "0.0 to 1.0")
        return math.floor(failures_allowed * count)
    if failures_allowed < 0:
        raise invalid(f"{given}; it must be 0 or more", given, "0 or more")
    return min(failures_allowed, count)


def make_wait(
    parent: NodeView,
    name: str,
    timeout: float | timedelta | None,
    *,
    default: bytes | None,
    mode: ModeWord,
    user_id: bytes,
) -> NewNode:
    """A node that waits for a message of its name. `default`: its response where none comes in time; None: it fails."""
    _check_depth(parent.depth + 1)
    to_text("A name", name)
    return NewNode(
        name=name,
        user_id=user_id,
        mode=to_mode(mode),
        type="wait",
        client_data=to_json("client data", {"timeout": None if timeout is None else to_timeout(timeout)}),
        retries=0,
        awaits=Awaits(default),
    )


def _follow_ups(
    known: Defaults | None, args: Arguments, options: ChildOptions, environment: NodeEnvironment, owner: object
) -> tuple[FollowUp, ...]:
    params = options.get("params")
    follow_ups = []
    for following in followings(options, known, args if params is None else params, environment.defaults):
        user_id = environment.user_id(following.client or options.get("client"))
        follow_up, slots = written(owner, functools.partial(following.made, user_id, environment.pack))
        check_plain(following.name, following.params, slots.written_count)
        follow_ups.append(follow_up)
    return tuple(follow_ups)


def make_group(
    parent: NodeView,
    name: str,
    members: list[NewNode],
    mode: ModeWord,
    environment: NodeEnvironment,
    *,
    failures_allowed: int,
) -> Group:
    """A flag with these children below it. So many of them may fail."""
    _check_depth(parent.depth + 2)
    flag = NewNode(
        name=f"{name} ({len(members)})",
        user_id=environment.user_id(None),
        mode=to_mode(mode),
        type="flag",
        failures_allowed=failures_allowed,
    )
    return Group(flag, tuple(members))


def named_by_content(signal: Signal, content: bytes, node: NodeView, sent: Sequence[Signal]) -> Signal:
    """A signal with an id of its own: the same whenever this node sends the same again, in whatever attempt.

    Only one attempt of a node completes, but one that came too late may have sent its signals. `content` are its
    arguments as they were before a codec, which may make something else of them each time. `sent` are the signals
    that the running attempt has sent before: what is sent twice is two signals.
    """
    encoded = msgspec.msgpack.encode((signal.workflow_id, signal.node.name, content))
    sent_ids = [command.id for command in sent]
    for place in range(len(sent) + 1):
        command_id = ids.command_id(node.id, b"signal", encoded, place.to_bytes(4, "big"))
        if command_id not in sent_ids:
            return msgspec.structs.replace(signal, id=command_id)
    raise AssertionError("more places are taken than there are signals")


def route_via_parent(signal: Signal, node: NodeView) -> Signal | OpenLink:
    """The command that brings a signal on its way.

    One that the running node waits for goes through that node's partition, ahead of its answer, so that the link is
    there before the node could complete.
    """
    if signal.node.parent_link_id != node.id:
        return signal
    return OpenLink(
        id=signal.id,
        user_id=signal.user_id,
        tid=signal.tid,
        target_id=node.id,
        child_id=ids.node_id(signal.workflow_id, signal.id, 0),
        signal=signal,
    )


def _check_depth(depth: int) -> None:
    if depth > LIMITS.depth_max:
        raise LimitExceeded(
            Reason.LIMIT_EXCEEDED,
            f"The node would be {depth} levels deep; depth_max is {LIMITS.depth_max}: signal another workflow instead",
            str(depth),
            f"depth_max {LIMITS.depth_max}",
        )
