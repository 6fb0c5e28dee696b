"""Refusals of the HTTP API, as the original has them: {"errorClass", "message"} and a status.

The classes are those that old clients know (behaviour document, section 5); `Backbeat::…` are our own.
"""

from __future__ import annotations

from typing import Literal

from backbeat.errors import Rejected
from backbeat.schemas.messages.replies import Reason
from backbeat.transport.http_nouns import Error, Rejection

INVALID_PARAMETERS = "Backbeat::InvalidParameters"
#: Error class of the original's database for ids and search values of the wrong kind.
STATEMENT_INVALID = "ActiveRecord::StatementInvalid"

RETRY_AFTER_SECONDS = 1


class Refusal(Exception):  # noqa: N818 - a refusal is no fault
    """A refused call: status, body, and headers beside the usual ones."""

    def __init__(self, status: int, body: Error | dict[str, str], headers: dict[str, str] | None = None) -> None:
        super().__init__(body.message if isinstance(body, Error) else "")
        self.status = status
        self.body = body
        self.headers = headers or {}


def _refusal(status: int, error_class: str, message: str) -> Refusal:
    return Refusal(status, Error(error_class, message))


def invalid(message: str) -> Refusal:
    """400: a missing or invalid parameter."""
    return _refusal(400, INVALID_PARAMETERS, message)


def invalid_value(message: str) -> Refusal:
    """400: an id or a search value of the wrong kind, which the original's database refuses."""
    return _refusal(400, STATEMENT_INVALID, message)


def unauthorized() -> Refusal:
    """401: an unknown client, or a missing or wrong token."""
    return Refusal(401, {"error": "Unauthorized"})


def forbidden(message: str) -> Refusal:
    """403: a person who may not do this."""
    return _refusal(403, "Backbeat::Forbidden", message)


def not_found(message: str = "Not Found") -> Refusal:
    """404: it does not exist, or is another client's."""
    return _refusal(404, "Backbeat::NotFound", message)


def method_not_allowed(method: str, allowed: str) -> Refusal:
    """405: the path exists, with other methods."""
    error = Error("Backbeat::MethodNotAllowed", f"{method} is not allowed here; allowed: {allowed}")
    return Refusal(405, error, {"Allow": allowed})


def too_large(message: str) -> Refusal:
    """413: the body is larger than allowed."""
    return _refusal(413, "Backbeat::LimitExceeded", message)


def too_many(message: str, seconds: int = RETRY_AFTER_SECONDS) -> Refusal:
    """429: the caller has more calls under way, or more wrong tries, than it may; none of this one was done."""
    return Refusal(429, Error("Backbeat::TooManyRequests", message), {"Retry-After": str(seconds)})


def hung_up() -> Refusal:
    """499: the caller has closed its connection before its call's turn; nobody reads this, but it is counted."""
    return _refusal(499, "Backbeat::Unavailable", "The caller has closed its connection")


def unavailable(message: str, error_class: Literal["Backbeat::Unavailable", "Backbeat::Timeout"]) -> Refusal:
    """503: a part that the answer needs is unreachable; ask again later."""
    return Refusal(503, Error(error_class, message), {"Retry-After": str(RETRY_AFTER_SECONDS)})


def defect() -> Refusal:
    """500: a fault of the gateway; the log has it under the transaction id."""
    return _refusal(500, "Backbeat::Error", "The gateway failed; its log says why, under this answer's X-backbeat-tid")


def refused(rejected: Rejected, target: str, *, whole: bool = False) -> Refusal:
    """The engine's rejection as a refusal of `target`: `workflow 0b4e…`; `whole`: with the rejection's fields."""
    refusal = _refused(rejected, target)
    if whole and isinstance(refusal.body, Error):
        refusal.body.rejection = Rejection(rejected.reason, rejected.message, rejected.found, rejected.wanted)
    return refusal


def _refused(rejected: Rejected, target: str) -> Refusal:
    message = rejected.message
    match rejected.reason:
        case Reason.NOT_FOUND:
            return not_found(f"There is no {target}")
        case Reason.UNKNOWN_STATUS:
            return _refusal(400, "Backbeat::UnknownStatus", message)
        case Reason.WORKFLOW_COMPLETE:
            return _refusal(400, "Backbeat::WorkflowComplete", "Backbeat::WorkflowComplete")
        case Reason.INVALID_CLIENT_STATUS:
            error = Error("Backbeat::InvalidClientStatusChange", message, rejected.found, rejected.wanted)
            return Refusal(409, error)
        case Reason.INVALID_SERVER_STATUS:
            return _refusal(409, "Backbeat::InvalidServerStatusChange", message)
        case Reason.KEY_REUSED:
            return _refusal(422, INVALID_PARAMETERS, message)
        case _:
            return invalid(message)
