"""Notices: what is told that the retries of an activity are exhausted (`rescue`, `Worker.on_error`)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

from backbeat.activities.context import Activity
from backbeat.activities.definition import ErrorHook
from backbeat.delivery.kafka import logger
from backbeat.errors import BackbeatError
from backbeat.worker.handlers import is_async

#: The notification of an activity whose retries are exhausted; others tell of the engine's own failures.
CLIENT_ERROR = "Client Error"
#: Waits between the calls of a rescue that raises, in seconds: the first, and the longest.
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 60.0


class Notice(Activity):
    """The activity as its rescue has it. It has ended: nothing is added to it, nor sent by it."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise BackbeatError(
            f"{self.name!r} has ended, and this is told of it: nothing can be added or signalled here. What to do: let "
            "an activity handle the failure, @activity(…, on_failure=…), or signal by current().client, with an "
            "idempotency_key"
        )

    # A type checker sees those of an activity.
    for _name in ("add", "spread", "returns", "give_up", "signal", "continue_as"):
        locals()[_name] = _refuse


def waits() -> Iterator[float]:
    """Seconds to wait before each further call of a rescue."""
    seconds = _FIRST_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _LONGEST_SECONDS)


async def tell(activity: Activity, hook: ErrorHook, error: dict[str, Any]) -> bool:
    """Call a hook, a plain one in a thread. False: it raised, which is logged."""
    task = asyncio.current_task()
    assert task is not None, "a hook is called in a task"
    try:
        answer = hook(activity, error) if is_async(hook) else await asyncio.to_thread(hook, activity, error)
        if inspect.isawaitable(answer):
            await answer
    except BaseException as failure:
        if is_ended(task, failure):
            raise
        logger.exception("the error hook failed on %s %s", activity.name, activity.id)
        return False
    return True


def is_ended(task: asyncio.Task[Any], error: BaseException) -> bool:
    """True: an error is the end of its task, and not raised by the code in it."""
    if isinstance(error, asyncio.CancelledError):
        return task.cancelling() > 0
    return isinstance(error, GeneratorExit) and not runs(task)


def runs(task: asyncio.Task[Any]) -> bool:
    """True: this is the task, in its event loop. False where a loop that was closed lets go of it."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False
