"""Everything that the SDK raises: one hierarchy, whatever went wrong and wherever.

- BackbeatError
  - Rejected: the engine refused; nothing was changed
    - NotFound, InvalidParameters, LimitExceeded, InvalidStatus, WorkflowComplete, KeyReused
    - UnknownOption, an InvalidParameters: a keyword argument that the call does not have
    - Unauthorized: a gateway does not know the caller, or wants another token
  - CodecError: a payload cannot be packed or unpacked
  - NodeFailed: the node whose result was awaited gave none
  - Cancelled: what a handler runs is over, and nobody waits for its answer
  - Fail: raised by a handler, to fail without being tried again
  - RetryAfter: raised by a handler, to be tried again after so long
  - Timeout: no answer in time; what was asked may still be done
  - Unavailable: Kafka, the gateway or a store cannot be reached, or did not take what was sent
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from backbeat.schemas.messages.replies import Reason, Rejection


class BackbeatError(Exception):
    """Base of all errors of Backbeat: `except BackbeatError` catches whatever the SDK raises.

    >>> from backbeat import Rejected
    >>> issubclass(Rejected, BackbeatError)
    True
    """


class Rejected(BackbeatError):  # noqa: N818 - a refusal is no fault
    """Refusal of what was asked; nothing was changed.

    >>> raise Rejected("workflow_complete", "The workflow is complete", found="complete", wanted="a running workflow")
    Traceback (most recent call last):
    backbeat.errors.Rejected: The workflow is complete
    """

    def __init__(self, reason: str, message: str, found: str = "", wanted: str = "") -> None:
        super().__init__(message)
        #: Why, as one word: `not_found`, `invalid_client_status`, …
        self.reason = reason
        self.message = message
        #: What stood in the way.
        self.found = found
        #: What would have been accepted.
        self.wanted = wanted

    def __reduce__(self) -> tuple[type[Rejected], tuple[str, str, str, str]]:
        return type(self), (self.reason, self.message, self.found, self.wanted)


class NotFound(Rejected):
    """There is no such workflow, node or client, or it is another client's.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> asyncio.run(Backbeat().client().signal("Sale", 703, "Ship", client="shopp"))
    Traceback (most recent call last):
    backbeat.errors.NotFound: There is no client 'shopp' ...
    """


class InvalidParameters(Rejected):
    """A value that cannot be: an empty name, a negative number of retries.

    >>> from backbeat import Retry
    >>> Retry(times=-1)
    Traceback (most recent call last):
    backbeat.errors.InvalidParameters: times is below 0
    """


class UnknownOption(InvalidParameters, TypeError):  # noqa: N818 - named by what it is about
    """A keyword argument that the call does not have; the text names the nearest one. Also a TypeError.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> asyncio.run(Backbeat().client().signal("Sale", 703, "Buy", idempotencey_key="order-17"))
    Traceback (most recent call last):
    backbeat.errors.UnknownOption: signal() knows no `idempotencey_key`: did you mean `idempotency_key`?
    """


class LimitExceeded(Rejected):
    """Too large, too deep or too many; the text names the limit."""


class InvalidStatus(Rejected):
    """The node's status does not allow the change: `found` is the status that it has."""


class WorkflowComplete(Rejected):
    """The workflow is complete and takes no more signals."""


class KeyReused(Rejected):
    """The idempotency key was used before, for something else."""


class Unauthorized(Rejected):
    """The gateway does not know the caller, or wants another token."""


class CodecError(BackbeatError):
    """A payload cannot be packed or unpacked: another codec or key is needed, or a store; the text says which."""


class Fail(BackbeatError):  # noqa: N818 - a word to say in a handler
    """A handler raises it where trying again cannot help: the node's retries are exhausted at once.

    Subclasses do the same. Its text, cause and traceback go to the tree, as any other error's.

    >>> raise Fail("card 4000… was stolen: charging it again is no use")
    Traceback (most recent call last):
    backbeat.errors.Fail: card 4000… was stolen: charging it again is no use
    """


class RetryAfter(BackbeatError):  # noqa: N818 - a word to say in a handler
    """A handler raises it to be tried again after so long, a number of seconds or a timedelta, for this once.

    It spends a retry as any other error does; where none is left, they are exhausted.

    >>> raise RetryAfter(30, "the bank is closed for half a minute")
    Traceback (most recent call last):
    backbeat.errors.RetryAfter: the bank is closed for half a minute
    """

    def __init__(self, wait: float | timedelta, message: str = "") -> None:
        seconds: Any = wait.total_seconds() if isinstance(wait, timedelta) else wait
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < math.inf:
            text = f"RetryAfter is of seconds from 0 up, or a timedelta, not {wait!r}"
            raise InvalidParameters(Reason.INVALID_PARAMETERS, text, repr(wait), "0 or more seconds")
        super().__init__(message or f"to be tried again in {seconds:g} s")
        #: The wait, in seconds.
        self.seconds = float(seconds)

    def __reduce__(self) -> tuple[type[RetryAfter], tuple[float, str]]:
        return type(self), (self.seconds, str(self))


class Cancelled(BackbeatError):  # noqa: N818 - named by what happened
    """The attempt that a handler runs is over: canceled, reset, expired, or answered by somebody else.

    >>> raise Cancelled("attempt 1 of node 0b4e is over")
    Traceback (most recent call last):
    backbeat.errors.Cancelled: attempt 1 of node 0b4e is over
    """


class NodeFailed(BackbeatError):  # noqa: N818 - named by what happened
    """A node ended, or stands still, without a result.

    >>> failed = NodeFailed("0b4e", "retries_exhausted", "ValueError: declined")
    >>> str(failed), failed.message
    ('node 0b4e is retries_exhausted: ValueError: declined', 'ValueError: declined')
    """

    def __init__(self, node_id: str, status: str, message: str, traceback: Sequence[str] = ()) -> None:
        super().__init__(f"node {node_id} is {status}: {message}")
        self.node_id = node_id
        #: `deactivated` (it will never run again) or `retries_exhausted` (it waits for an operator).
        self.status = status
        #: What the last attempt's error said.
        self.message = message
        #: The lines of the last attempt's traceback, where there is one.
        self.traceback = list(traceback)

    def __reduce__(self) -> tuple[type[NodeFailed], tuple[str, str, str, list[str]]]:
        return type(self), (self.node_id, self.status, self.message, self.traceback)


class Timeout(BackbeatError, TimeoutError):  # noqa: N818 - as asyncio's and the standard library's
    """No answer came within the deadline. A command may still be applied: repeat it with the same idempotency key.

    >>> issubclass(Timeout, TimeoutError)
    True
    """


class Unavailable(BackbeatError, ConnectionError):  # noqa: N818 - named by what happened
    """Kafka, the gateway or a store cannot be reached, or did not take what was sent.

    >>> import asyncio
    >>> from backbeat import Client
    >>> asyncio.run(Client("http://127.0.0.1:1").start())
    Traceback (most recent call last):
    backbeat.errors.Unavailable: The gateway http://127.0.0.1:1 cannot be reached: ...
    """


_REJECTED: dict[Reason, type[Rejected]] = {
    Reason.NOT_FOUND: NotFound,
    Reason.INVALID_PARAMETERS: InvalidParameters,
    Reason.UNKNOWN_STATUS: InvalidParameters,
    Reason.LIMIT_EXCEEDED: LimitExceeded,
    Reason.INVALID_CLIENT_STATUS: InvalidStatus,
    Reason.INVALID_SERVER_STATUS: InvalidStatus,
    Reason.WORKFLOW_COMPLETE: WorkflowComplete,
    Reason.KEY_REUSED: KeyReused,
}


def rejected(rejection: Rejection) -> Rejected:
    """The engine's refusal as an exception."""
    kind = _REJECTED.get(rejection.reason, Rejected)
    return kind(rejection.reason, rejection.message, rejection.found, rejection.wanted)


def never_runs_again(node_id: bytes) -> tuple[Reason, str, str, str]:
    """Why a node that was canceled, reset or passed over takes no change: reason, message, found and wanted."""
    text = (
        f"Node {uuid.UUID(bytes=node_id)} is deactivated: it was canceled, reset or passed over, and never runs again"
    )
    return Reason.INVALID_SERVER_STATUS, text, "deactivated", "a node that is not deactivated"
