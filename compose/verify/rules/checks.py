"""Refusals that follow from a command's content: routes, sizes, JSON, numbers. A refused command changes nothing."""

from __future__ import annotations

import math
import re
from typing import Any

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.tree import (
    ANSWER,
    JOB,
    REFUSAL,
    SCHEDULE,
    START,
    TASK_FOLLOW_CANCEL,
    TASK_FORGET_LINKS,
    TASK_REMOVE,
    TASK_RETAIN,
    TASK_SCHEDULE,
)
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import TIME_MAX, TIME_MIN
from backbeat.schemas.messages.json_text import JsonTextError, TooDeepError, parse

INVALID, LIMIT, NOT_FOUND = "invalid_parameters", "limit_exceeded", "not_found"
_TIMEOUT_SECONDS_MAX = 100 * 365 * 86_400.0
_EMPTY_SUBJECT = re.compile(rb'null|false|\{\}|\[\]|"(\s|\\[tnrf])*"')
_ONLY_ENGINES = {"SpreadLimit", "AskSlot", "GrantSlot", "ReleaseSlot", "FillPool", "CloseLink", "Continue", "WorkJob"}
#: Commands by the field whose id gives their partition.
_ROUTES = {
    "workflow_id": ("Signal", "SendMessage", "ChangeWorkflow", "RemoveWorkflow", "Continue"),
    "node_id": (
        "ChangeNode",
        "AddChildren",
        "Heartbeat",
        "RestartNode",
        "ResetNode",
        "ScheduleNode",
        "DeliveryFailed",
        "FailNode",
        "GrantSlot",
    ),
    "target_id": ("OpenLink", "CloseLink"),
    "pool_id": ("AskSlot", "ReleaseSlot", "FillPool"),
    "schedule_id": ("PutSchedule", "ChangeSchedule", "RunSchedule", "ScheduleDue"),
}
_ROUTE_OF = {name: field for field, names in _ROUTES.items() for name in names}
_FOLLOWED_MAX = 32
_TIMES_MAX = 10_000
_NAME_BYTES_MAX = 4_096
_NOTE_CHARACTERS_MAX, _ACTOR_CHARACTERS_MAX = 1_000, 100
_SHORTEST_SECONDS = 0.001
PRIORITY_LAST = 5


class Refused(Exception):  # noqa: N818 - it is no error: a client may well send such a command
    """The command is refused: nothing of it may stay."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def route(name: str, command: Command) -> bytes | None:
    """The id that gives a command's partition; null: it is of the partition that it was sent to."""
    if name == "CreateWorkflow":
        return ids.murmur2(command["workflow"]["subject"]).to_bytes(4, "big")
    if name == "TimerFired":
        return None if command["kind"] in (ANSWER, JOB) else command["subject_id"]
    if name == "ChangeLimit":
        return ids.limit_id(command["client_id"], command["activity"])
    field = _ROUTE_OF.get(name)
    return None if field is None else command[field]


def check_record(name: str, command: Command, partition: int, offset: int, partitions_count: int) -> None:
    """Refuse what cannot be a command of this place in the log. Raises Refused."""
    identity = route(name, command)
    if identity is not None and ids.partition_of(identity, partitions_count) != partition:
        raise Refused(INVALID)
    if name in ("StartJob", "StopJob", "WorkJob") and command["partition"] != partition:
        raise Refused(INVALID)
    source = command["source"]
    if source is not None:
        inside = 0 <= source["partition"] < partitions_count and source["offset"] >= 0 and source["index"] >= 0
        if not inside or (source["partition"] == partition and source["offset"] >= offset):
            raise Refused(INVALID)
    elif name in _ONLY_ENGINES:
        raise Refused(INVALID)
    if command["reply_to"] is not None and command["reply_to"]["partition"] < 0:
        raise Refused(INVALID)
    check = _CHECKS.get(name)
    if check is not None and not check(command):
        raise Refused(INVALID)


def _is_time(at: int, least: int = TIME_MIN) -> bool:
    return least <= at <= TIME_MAX


def _tasks_fit(workflow_id: bytes, tasks: list[Command]) -> bool:
    prefix = workflow_id[: ids.PREFIX_BYTES]
    for task in tasks:
        kind, cursor = task["kind"], task["cursor"]
        if not TASK_SCHEDULE <= kind <= TASK_FOLLOW_CANCEL or not task["id"].startswith(prefix):
            return False
        if cursor is not None and kind not in (TASK_FORGET_LINKS, TASK_RETAIN) and not cursor.startswith(prefix):
            return False
        if kind == TASK_REMOVE and not _is_time(task["mark"], 0):
            return False
    return True


def _work_job(command: Command) -> bool:
    if command["workflow_id"] is None:
        return not command["tasks"]
    return bool(command["tasks"]) and _tasks_fit(command["workflow_id"], command["tasks"])


def _schedule_due(command: Command) -> bool:
    times, next_at = command["times"], command["next_at"]
    ascending = all(later > earlier for earlier, later in zip([-1, *times], times, strict=False))
    return (
        len(times) <= _TIMES_MAX
        and ascending
        and all(_is_time(at, 0) for at in times[-1:])
        and (next_at is None or _is_time(next_at, 0))
    )


def _ask_slot(command: Command) -> bool:
    pool = ids.pool_id(command["client_id"], command["activity"], command["key"])
    return bool(pool == command["pool_id"]) and 1 <= command["priority"] <= PRIORITY_LAST


def _open_link(command: Command) -> bool:
    signal, waits, at = command["signal"], command["waits"], command["waits_at"]
    if signal is None:
        return not waits
    if signal["reply_to"] is not None and signal["reply_to"]["partition"] < 0:
        return False
    if ids.node_id(signal["workflow_id"], signal["id"], 0) != command["child_id"]:
        return False
    if not waits:
        return True
    if command["source"] is None or len(waits) > _FOLLOWED_MAX + 1 or not 0 <= at <= len(waits):
        return False
    if signal["node"]["parent_link_id"] is None or not signal["link_open"]:
        return False
    if command["target_id"] != (command["child_id"] if at == len(waits) else waits[at]["child_id"]):
        return False
    prefix = ids.PREFIX_BYTES
    return all(
        -1 <= wait["before"] < place and wait["workflow_id"][:prefix] == wait["child_id"][:prefix]
        for place, wait in enumerate(waits)
    )


def _start_job(command: Command) -> bool:
    if len(command["note"]) > _NOTE_CHARACTERS_MAX or len(command["actor"]) > _ACTOR_CHARACTERS_MAX:
        return False
    times = (command["filter"][name] for name in ("status_start", "status_end", "created_start", "created_end"))
    return all(at is None or _is_time(at) for at in times)


def _spread_limit(command: Command) -> bool:
    if len(command["limit"]["activity"].encode()) > _NAME_BYTES_MAX:
        return False
    check_limit_values(command["limit"]["values"])
    return True


_CHECKS: dict[str, Any] = {
    "TimerFired": lambda command: START <= command["kind"] <= REFUSAL and command["kind"] != SCHEDULE,
    "Continue": lambda command: bool(command["tasks"]) and _tasks_fit(command["workflow_id"], command["tasks"]),
    "WorkJob": _work_job,
    "ScheduleDue": _schedule_due,
    "AskSlot": _ask_slot,
    "OpenLink": _open_link,
    "StartJob": _start_job,
    "SpreadLimit": _spread_limit,
    "FailNode": lambda _: False,  # never sent: an engine applies it where it fails
}


# --- by a partition's settings ---------------------------------------------------------------------------------------


def check_size(size: int, limit: float) -> None:
    """Refuse what is larger than a setting allows."""
    if size > limit:
        raise Refused(LIMIT)


def check_text(text: str, limit: float) -> None:
    """Refuse a text that is empty or too long."""
    if not text:
        raise Refused(INVALID)
    check_size(len(text.encode()), limit)


def check_json(text: bytes, depth_max: int) -> Any:
    """The value of a JSON text. Refused: it is none, or nested too deep."""
    try:
        return parse(text, depth_max)
    except TooDeepError as error:
        raise Refused(LIMIT) from error
    except JsonTextError as error:
        raise Refused(INVALID) from error


def check_response(response: bytes | None, settings: Command) -> None:
    """Refuse a response that is too large, or no JSON."""
    if response is not None:
        check_size(len(response), settings["payload_bytes_max"])
        check_json(response, settings["json_depth_max"])


def check_retry_after(seconds: float | None) -> None:
    """Refuse a wait that is below 0, or for ever."""
    if seconds is not None and not 0 <= seconds < math.inf:
        raise Refused(INVALID)


def check_progress(progress: Command, settings: Command) -> None:
    """Refuse a fraction beyond 0 and 1, and a note that is longer than a name."""
    if progress["fraction"] is not None and not 0 <= progress["fraction"] <= 1:
        raise Refused(INVALID)
    check_size(len(progress["note"].encode()), settings["name_bytes_max"])


def check_node(new: Command, settings: Command) -> None:
    """Refuse a node beyond the limits."""
    name_max, payload_max = settings["name_bytes_max"], settings["payload_bytes_max"]
    data, metadata = new["client_data"], new["metadata"]
    check_text(new["name"], name_max)
    check_text(new["type"], name_max)
    check_size(len(data), payload_max)
    check_size(len(metadata), payload_max)
    if metadata != b"{}":
        check_json(metadata, settings["json_depth_max"])
    check_size(len(data) + len(metadata), settings["record_bytes_max"])
    if new["priority"] is not None and not 1 <= new["priority"] <= PRIORITY_LAST:
        raise Refused(INVALID)
    check_size(len((new["fairness_key"] or "").encode()), name_max)
    _check_retries(new)
    if new["failures_allowed"] < 0:
        raise Refused(INVALID)
    if new["fires_at"] is not None and not _is_time(new["fires_at"]):
        raise Refused(INVALID)
    default = None if new["awaits"] is None else new["awaits"]["default"]
    if default is not None:
        check_size(len(default), payload_max)
        check_json(default, settings["json_depth_max"])
    size = len(data) + len(metadata)
    kinds = [row["kind"] for row in new["follow_ups"]]
    for row in new["follow_ups"]:
        check_text(row["name"], name_max)
        _check_retries(row)
        check_size(len(row["client_data"]), payload_max)
        timeout_of(row["client_data"], settings)
        size += len(row["client_data"])
    if len(set(kinds)) < len(kinds) or ("undo" in kinds and new["mode"] == "fire_and_forget"):
        raise Refused(INVALID)
    check_size(size, settings["record_bytes_max"])


def _check_retries(new: Command) -> None:
    if new["retries"] < 0 or not 0 <= new["retry_interval_seconds"] < math.inf:
        raise Refused(INVALID)
    backoff = new["backoff"]
    if backoff is not None and not (
        1 <= backoff["factor"] < math.inf and 0 <= backoff["longest_seconds"] < math.inf and 0 <= backoff["jitter"] <= 1
    ):
        raise Refused(INVALID)


def check_workflow(new: Command, settings: Command) -> None:
    """Refuse a workflow beyond the limits, or without a subject."""
    check_text(new["name"], settings["name_bytes_max"])
    check_text(new["decider"], settings["name_bytes_max"])
    subject = new["subject"]
    check_size(len(subject), settings["subject_bytes_max"])
    if not subject or _EMPTY_SUBJECT.fullmatch(subject):
        raise Refused(INVALID)
    check_json(subject, settings["json_depth_max"])


def timeout_of(client_data: bytes, settings: Command) -> float | None:
    """Seconds until a node expires, by its client data; -1: the configured default; null: never."""
    if client_data == b"{}":
        return -1.0
    value = check_json(client_data, settings["json_depth_max"])
    if not isinstance(value, dict):
        raise Refused(INVALID)
    if "timeout" not in value:
        return -1.0
    timeout = value["timeout"]
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float, str)):
        raise Refused(INVALID)
    try:
        seconds = float(timeout)
    except (ValueError, OverflowError) as error:
        raise Refused(INVALID) from error
    if math.isnan(seconds):
        raise Refused(INVALID)
    return min(max(seconds, 0.0), _TIMEOUT_SECONDS_MAX)


_PATH = re.compile(r"(subject|metadata|client_data)((?:\.[^.\[\]]+|\[\d{1,6}\])*)")
_PATH_CHARACTERS_MAX = 200


def path_parts(path: str) -> tuple[str, list[str | int]] | None:
    """The root of a limit's key, and what is below it; null: it is no path."""
    match = _PATH.fullmatch(path)
    if match is None or len(path) > _PATH_CHARACTERS_MAX:
        return None
    parts = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", match[2])
    return match[1], [name or int(index) for name, index in parts]


def check_limit_values(values: Command) -> None:
    """Refuse values of a limit that nothing could go by."""
    counts = (values["concurrency"], values["rate_count"], values["rate_burst"])
    seconds = (values["rate_period_seconds"], values["aging_seconds"])
    if any(count is not None and count < 1 for count in counts):
        raise Refused(INVALID)
    if not all(_SHORTEST_SECONDS <= interval <= 366 * 86_400.0 for interval in seconds):
        raise Refused(INVALID)
    if values["rate_count"] is not None and values["rate_burst"] * seconds[0] > _TIMEOUT_SECONDS_MAX:
        raise Refused(INVALID)
    if values["key"] and path_parts(values["key"]) is None:
        raise Refused(INVALID)
