"""Environment variables of Backbeat: which there are, and those that are set and that nothing reads."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches

PREFIX = "BACKBEAT_"
#: All that commands, services, workers, containers and their examples read (docs/reference/settings.md).
KNOWN = frozenset(
    PREFIX + name
    for name in """
    ANSWER_SECONDS APPLICATION_ID ARCHIVE_POLL_SECONDS ARCHIVE_TO BOOTSTRAP_SERVERS CACHE_RECORDS CLIENT
    CLIENT_BYTES_MAX CLIENT_CALLS_MAX CLIENT_URL CLIENT_WAITING_MAX
    COMMIT_INTERVAL_SECONDS COMMIT_RECORDS_MAX COMMIT_STALL_TIMEOUT_SECONDS COMMIT_TIMEOUT_SECONDS CONCURRENCY CONFIG
    CONNECTION_ERROR_WAIT_SECONDS DATABASE_URL DATA_DIR DEVELOPMENT ENDPOINT_NETWORKS ENDPOINT_TIMEOUT_SECONDS GATEWAY
    GATEWAY_DATA_DIR
    HEALTH_URL HEARTBEAT_INTERVAL_SECONDS HTTP_CERTIFICATE_FILE HTTP_HOST HTTP_KEY_FILE HTTP_PORT IMAGE INSTANCE_ID
    KAFKA_CA_FILE KAFKA_CERTIFICATE_FILE
    KAFKA_JAVA_OPTIONS KAFKA_KEY_FILE KAFKA_PASSWORD KAFKA_PASSWORD_FILE KAFKA_SASL_MECHANISM KAFKA_SECURITY_PROTOCOL
    KAFKA_USER KEY LEAVE_RECORDS_MAX LOG_FORMAT LOOP_TIMEOUT_SECONDS MAIL_FROM MAIL_TO MAVEN_REPOSITORY PARTITIONS
    PENDING_RECORDS_MAX PERSON POSTGRES_PASSWORD PROFILE PURE QUEUE_LOG_SECONDS REBALANCE_TIMEOUT_SECONDS
    REQUIRE_AUTH_TOKEN
    RESTORE_STALL_TIMEOUT_SECONDS SCHEMA_REGISTRY_URL SESSION_TIMEOUT_SECONDS SIGNALS_TURN_SECONDS SMTP_HOST
    SMTP_PASSWORD SMTP_PORT
    SMTP_SECURITY SMTP_USER STALL_TIMEOUT_SECONDS STATUS_HOST STATUS_PORT TIMEOUT_SECONDS TOKEN TOUCH_INTERVAL_SECONDS
    TRANSACTION_TIMEOUT_SECONDS UI UI_CODEC_URL UI_COLOUR UI_DRILLS UI_DRILL_KEY_FILE UI_DRILL_TOPOLOGY UI_HOST
    UI_LINK UI_LOGIN UI_NAME
    UI_READ_ONLY UI_SECRET_FILE UI_TRUSTED_PROXY UI_USER_HEADER UI_VIEWS USER_ID USER_NAME
    """.split()  # noqa: SIM905 - one name after the other is easier to read and to add to
)
#: They, without the prefix, which would make all names alike.
_WORDS = sorted(name.removeprefix(PREFIX) for name in KNOWN)
#: Of this project's own tests.
_TESTS = (f"{PREFIX}TEST_", f"{PREFIX}FUZZ_", f"{PREFIX}SIM_")
#: Kubernetes tells every pod of every service, `backbeat-gateway` too.
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$")
_URL = re.compile(r"(tcp|udp|sctp)://")
_LIKENESS_MIN = 0.7

_told = False


def unknown(environ: Mapping[str, str]) -> str | None:
    """A sentence about variables that nothing reads, each with the name that is nearest; null: there are none."""
    names = [name for name in sorted(environ) if name.startswith(PREFIX) and not _is_known(name, environ[name])]
    if not names:
        return None
    listed = ", ".join(name + _nearest(name) for name in names)
    return f"set in the environment, and read by nothing: {listed}. All there are: docs/reference/settings.md"


def tell(logger: logging.Logger) -> None:
    """Log that sentence as a warning, once in a process."""
    text = take()
    if text is not None:
        logger.warning("%s", text)


def take() -> str | None:
    """The sentence about this process's environment, for the first who asks; null: there is none, or it was told."""
    global _told  # noqa: PLW0603 - whoever in a process comes first says it
    if _told:
        return None
    _told = True
    return unknown(os.environ)


def _is_known(name: str, value: str) -> bool:
    if name in KNOWN or name.startswith(_TESTS):
        return True
    suffix = _KUBERNETES.search(name)
    # `X_PORT` alone could be a slip; Kubernetes' is a URL.
    return suffix is not None and (suffix.group() != "_PORT" or _URL.match(value) is not None)


def _nearest(name: str) -> str:
    near = get_close_matches(name.removeprefix(PREFIX), _WORDS, 1, _LIKENESS_MIN)
    return f" (did you mean {PREFIX}{near[0]}?)" if near else ""
