"""Everything that the HTTP API refuses, as the original says it: {"errorClass", "message"} and a status.

The classes are those that old clients know (behaviour document, section 5); `Backbeat::…` are our own.
"""

from __future__ import annotations

from typing import Any, Literal

from backbeat.errors import Rejected
from backbeat.schemas.messages.replies import Reason

INVALID_PARAMETERS = "Backbeat::InvalidParameters"
#: What the original's database says of ids and search values of the wrong kind.
STATEMENT_INVALID = "ActiveRecord::StatementInvalid"

RETRY_AFTER_SECONDS = 1


class Refusal(Exception):  # noqa: N818 - a refusal is no fault
    """A call that is not done: its status, its body, and headers beside the usual ones."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(body.get("message", ""))
        self.status = status
        self.body = body
        self.headers = headers or {}


def _refusal(status: int, error_class: str, message: str, **more: Any) -> Refusal:
    return Refusal(status, {"errorClass": error_class, "message": message, **more})


def invalid(message: str) -> Refusal:
    """400: a parameter that is missing or cannot be."""
    return _refusal(400, INVALID_PARAMETERS, message)


def invalid_value(message: str) -> Refusal:
    """400: an id or a search value of the wrong kind, which the original's database refuses."""
    return _refusal(400, STATEMENT_INVALID, message)


def unauthorized() -> Refusal:
    """401: nobody known asks, or without the token that is asked for."""
    return Refusal(401, {"error": "Unauthorized"})


def not_found(message: str = "Not Found") -> Refusal:
    """404: there is none, or it is another's."""
    return _refusal(404, "Backbeat::NotFound", message)


def method_not_allowed(method: str, allowed: str) -> Refusal:
    """405: the path exists, for other methods."""
    body = {"errorClass": "Backbeat::MethodNotAllowed", "message": f"{method} is not allowed here; allowed: {allowed}"}
    return Refusal(405, body, {"Allow": allowed})


def too_large(message: str) -> Refusal:
    """413: the body is larger than what is taken."""
    return _refusal(413, "Backbeat::LimitExceeded", message)


def unavailable(message: str, error_class: Literal["Backbeat::Unavailable", "Backbeat::Timeout"]) -> Refusal:
    """503: a part that the answer needs is not there; ask again later."""
    return Refusal(503, {"errorClass": error_class, "message": message}, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def defect() -> Refusal:
    """500: our own fault; the log has it under the transaction id."""
    return _refusal(500, "Backbeat::Error", "The gateway failed; its log says why, under this answer's X-backbeat-tid")


def refused(rejected: Rejected, what: str, *, whole: bool = False) -> Refusal:
    """What the engine refused; `what` is who was not found: `workflow 0b4e…`. `whole`: with the engine's own words."""
    refusal = _refused(rejected, what)
    if whole:
        refusal.body["rejection"] = {
            "reason": rejected.reason,
            "message": rejected.message,
            "found": rejected.found,
            "wanted": rejected.wanted,
        }
    return refusal


def _refused(rejected: Rejected, what: str) -> Refusal:
    message = rejected.message
    match rejected.reason:
        case Reason.NOT_FOUND:
            return not_found(f"There is no {what}")
        case Reason.UNKNOWN_STATUS:
            return _refusal(400, "Backbeat::UnknownStatus", message)
        case Reason.WORKFLOW_COMPLETE:
            return _refusal(400, "Backbeat::WorkflowComplete", "Backbeat::WorkflowComplete")
        case Reason.INVALID_CLIENT_STATUS:
            return _refusal(
                409,
                "Backbeat::InvalidClientStatusChange",
                message,
                currentStatus=rejected.found,
                attemptedStatus=rejected.wanted,
            )
        case Reason.INVALID_SERVER_STATUS:
            return _refusal(409, "Backbeat::InvalidServerStatusChange", message)
        case Reason.KEY_REUSED:
            return _refusal(422, INVALID_PARAMETERS, message)
        case _:
            return invalid(message)
