"""Exit codes of commands for scripts, and advice for people: the end of a command that could not do its work.

    0  done
    1  refused, or failed
    2  the command line cannot be understood (click's own)
    3  Kafka or the gateway cannot be reached
    4  no answer in time: the request may still be applied
    5  done in part: what was left out is said (`backbeat verify`, `backbeat restore`)

`backbeat engine`, `backbeat gateway` and `backbeat projection follow` are told apart by their supervisors, and have
codes of their own (docs/reference/errors.md).
"""

from __future__ import annotations

import enum
import tempfile
import traceback

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.sanitize import plain


class Exit(enum.IntEnum):
    """Exit codes of the commands that ask and end."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NO_ANSWER = 4
    INCOMPLETE = 5


class CommandError(click.ClickException):
    """The message of a command that ends, and its exit code."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = code


_ADVICE = "What to do:"
_TEXT_CHARACTERS_MAX = 400
#: Errors of the parts' own modules whose text has the fault and the advice. By name: nothing is imported for it.
_EXPLAINED = {
    ("backbeat.compose.backup.errors", "BackupError"): Exit.FAILED,
    ("backbeat.schemas.kafka.brokers", "RefusedError"): Exit.UNREACHABLE,
    ("backbeat.schemas.kafka.brokers", "UnreachableError"): Exit.UNREACHABLE,
    ("backbeat.schemas.kafka.security", "SecurityError"): Exit.FAILED,
    ("backbeat.schemas.kafka.topics", "TopicError"): Exit.FAILED,
    ("backbeat.schemas.kafka.client_registry", "ClientRegistryError"): Exit.FAILED,
    ("backbeat.streams.process.settings", "SettingsError"): Exit.FAILED,
    ("backbeat.streams.ports.errors", "NewerRecordError"): Exit.FAILED,
    ("backbeat.gateway.people.person", "PersonError"): Exit.FAILED,
    ("backbeat.gateway.projection.storage.database", "ProjectionError"): Exit.FAILED,
    ("backbeat.gateway.projection.storage.database", "ProjectionUnavailable"): Exit.UNREACHABLE,
}


def explain(error: Exception) -> CommandError | None:
    """The message of an error instead of a traceback. None: it is a defect of ours."""
    if isinstance(error, SetupError):
        return CommandError(str(error))
    code = _EXPLAINED.get((type(error).__module__, type(error).__name__))
    if code is not None:
        return CommandError(str(error), code)
    return _explain_sdk(error) or _explain_kafka(error) or _explain_system(error)


def defect(error: Exception) -> CommandError:
    """The message of a defect of ours: its traceback is kept in a file, for a report."""
    text = f"This is a defect of Backbeat's: {type(error).__name__}: {plain(str(error))[:_TEXT_CHARACTERS_MAX]}."
    try:
        with tempfile.NamedTemporaryFile("w", prefix="backbeat-defect-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return CommandError(f"{text} What to do: report it; it was met at {place.filename}:{place.lineno}.")
    return CommandError(f"{text} What to do: report it, with {file.name}, which says where it was met.")


def _explain_system(error: Exception) -> CommandError | None:
    """Errors of files, disks and texts."""
    match error:
        case OSError(strerror=str(reason)):
            place = "" if error.filename is None else f"{plain(str(error.filename))}: "
            return CommandError(_sentence(f"{place}{reason}"))
        case UnicodeEncodeError():
            letters = ascii(error.object[error.start : error.end])[:_TEXT_CHARACTERS_MAX]
            return CommandError(
                f"{letters} cannot be written in {error.encoding}. What to do: let the terminal be UTF-8, or set "
                "PYTHONIOENCODING=utf-8."
            )
        case UnicodeDecodeError():
            return CommandError(f"What was read is no {error.encoding.upper()}: {error.reason}.")
        case RecursionError():
            return CommandError("What was read is nested too deep.")
        case _:
            return None


def _explain_sdk(error: Exception) -> CommandError | None:
    from backbeat.errors import BackbeatError, NotFound, Timeout, Unavailable

    match error:
        case Unavailable():
            advice, code = "see that it runs, and that --bootstrap-servers and --gateway name it", Exit.UNREACHABLE
        case Timeout():
            advice, code = "see that an engine runs; --timeout-seconds waits longer", Exit.NO_ANSWER
        case NotFound():
            advice = "check the id, and whose it is: --client names the client application that asks"
            code = Exit.FAILED
        case BackbeatError():
            advice, code = "", Exit.FAILED
        case _:
            return None
    text = plain(_sentence(str(error)))
    return CommandError(text if not advice or _ADVICE in text else f"{text} {_ADVICE} {advice}.", code)


def _explain_kafka(error: Exception) -> CommandError | None:
    from confluent_kafka import KafkaError, KafkaException

    if not isinstance(error, KafkaException) or not isinstance(error.args[0], KafkaError):
        return None
    return CommandError(
        f"Kafka: {error.args[0].str()}. What to do: see that it runs, and that --bootstrap-servers names it.",
        Exit.UNREACHABLE,
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
