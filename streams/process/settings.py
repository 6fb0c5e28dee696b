"""Settings of an engine process, checked once, in one frozen struct; `cli.processes.engine_options` has its flags."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from backbeat.streams.ports.transaction_ids import transactional_id

_INSTANCE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class SettingsError(ValueError):
    """A setting cannot be used; the text says which and why."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Settings of one engine process. What `apply` reads is not here: it comes through the log (`messages.bounds`)."""

    bootstrap_servers: str = "127.0.0.1:9092"
    #: unique and lasting: the name of the data directory's owner, of the group member and of the transactions
    instance_id: str = ""
    data_dir: Path = Path(".backbeat/engine")
    #: consumer group; engines of one application share the partitions
    application_id: str = "backbeat"
    #: time between two commits while there is something to commit
    commit_interval_seconds: float = 1.0
    #: changed records of a process that start a commit before its time
    commit_records_max: int = 50_000
    #: time between two commits while there is nothing to commit: a fenced process finds out
    touch_interval_seconds: float = 3.0
    #: work of the engine that may be in flight of one client's signals at once, before those of others; 0: any
    signals_turn_seconds: float = 0.02
    #: time after which a member without heartbeats loses its partitions
    session_timeout_seconds: float = 10.0
    #: also the time after which a process finds out that another one has its instance id
    heartbeat_interval_seconds: float = 1.0
    rebalance_timeout_seconds: float = 15.0
    #: stored records up to which an engine that is stopped leaves its group: the others read them sooner than its
    #: session ends. With more it keeps its partitions for when it comes back; 0: always
    leave_records_max: int = 50_000
    #: time after which the broker aborts a transaction whose process is gone
    transaction_timeout_seconds: float = 10.0
    #: time of one commit, retries included, after which the process ends
    commit_timeout_seconds: float = 30.0
    #: decoded records in memory, over all partitions
    cache_records: int = 16_000
    #: records of one partition that wait in memory during its restore
    pending_records_max: int = 2_000
    #: a partition with commands waiting that does not move for this long ends the process
    stall_timeout_seconds: float = 60.0
    #: so does a log with commands behind a committed position that stands still (beside the commit's interval)
    commit_stall_timeout_seconds: float = 120.0
    #: so does a restore that does not come further
    restore_stall_timeout_seconds: float = 120.0
    #: so does an event loop that does not come round
    loop_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not self.instance_id:
            object.__setattr__(self, "instance_id", re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100])
        if not _INSTANCE_ID.fullmatch(self.instance_id):
            raise SettingsError(
                f"instance id {self.instance_id!r}: give 1 to 100 letters, digits, dots, dashes or underscores"
            )
        for name in ("stall", "commit_stall", "restore_stall", "loop"):
            seconds = getattr(self, f"{name}_timeout_seconds")
            if seconds <= 0:
                raise SettingsError(f"{name}_timeout_seconds is {seconds:g}: give more than 0")
        if self.leave_records_max < 0:
            raise SettingsError(f"leave_records_max is {self.leave_records_max}: give 0 or more")
        if self.rebalance_timeout_seconds < self.session_timeout_seconds:
            # Else a member that gives its partitions back too late could still have its lease (`lease`).
            raise SettingsError(
                f"rebalance timeout {self.rebalance_timeout_seconds:g} s: it must not be shorter than the session "
                f"timeout, {self.session_timeout_seconds:g} s"
            )

    @property
    def transactional_id(self) -> str:
        """The name of this process's transactions."""
        return transactional_id(self.application_id, self.instance_id)
