"""Bounds of what is stored and sent that no setting moves: beyond them it could not be written back."""

from __future__ import annotations

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
