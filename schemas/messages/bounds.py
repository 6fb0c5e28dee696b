"""Bounds of what is stored and sent that no setting moves: beyond them it could not be written back."""

from __future__ import annotations

import msgspec

from backbeat.schemas.marks import Long

#: Times, milliseconds since the epoch: the first of the year 1, and the last of the year 9999. No calendar of a
#: client has others.
TIME_MIN = -62_135_596_800_000
TIME_MAX = 253_402_300_799_999

#: Levels of a JSON text, whatever `json_depth_max` was set to.
JSON_DEPTH_MAX = 200
_HUNDRED_YEARS_SECONDS = 100 * 365 * 86_400.0
#: Each setting's least and most. Beyond them an engine would go round for ever, or write what no topic takes: the
#: largest record that they allow is smaller than that.
SETTINGS: dict[str, tuple[float, float]] = {
    "default_timeout_seconds": (0.001, _HUNDRED_YEARS_SECONDS),
    "payload_bytes_max": (2, 512 * 1024),
    "record_bytes_max": (1_024, 1024 * 1024),
    "name_bytes_max": (64, 4_096),
    "subject_bytes_max": (64, 64 * 1024),
    "depth_max": (1, 10_000),
    "children_max": (1, 10_000),
    "slice_nodes_max": (1, 10_000),
    "answer_retention_seconds": (0.001, _HUNDRED_YEARS_SECONDS),
    "json_depth_max": (1, JSON_DEPTH_MAX),
}
#: Bytes of the names of all limits, and of all policies of retention, that a partition holds: every commit writes them.
NAMES_BYTES_MAX = 128 * 1024


class Settings(msgspec.Struct, gc=False, array_like=True, frozen=True, kw_only=True):
    """Settings that commands are applied with. A command sets them, so that every replay sees the same."""

    version: int = 1  #: version of the stored form
    #: seconds until a started node expires whose client data gives no timeout
    default_timeout_seconds: float = 172_800.0
    payload_bytes_max: Long = 262_144  #: bytes of client data, of metadata and of a response: each
    record_bytes_max: Long = 786_432  #: bytes of one record as stored or sent, all its payloads together
    name_bytes_max: Long = 1_024  #: bytes of a name, of a type, of a decider
    subject_bytes_max: Long = 16_384  #: bytes of a subject's JSON text
    depth_max: int = 10_000  #: levels of nodes below the workflow
    children_max: int = 1_000  #: nodes added by one command; more may follow in further commands
    slice_nodes_max: int = 250  #: nodes that one command works on before it goes on in a command of its own
    #: seconds that the answer to a command with a caller's key is remembered
    answer_retention_seconds: float = 86_400.0
    #: levels of objects and arrays in a JSON text: client data, metadata, a subject, a response
    json_depth_max: int = 100
