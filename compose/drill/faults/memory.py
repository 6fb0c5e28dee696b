"""Fault of memory: a control group around the targets that leaves them little more than they have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.topology.service import Service
from backbeat.schemas.requests.decoding import from_json

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_MEBIBYTE = 1024 * 1024


class _Origin(msgspec.Struct, frozen=True):
    """Group that a process was in."""

    pid: int
    group: str


def _group_of(pid: int) -> Path:
    """The folder of a process's control group of memory."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if _V1.is_dir() and "memory" in controllers.split(","):
            return _V1 / path.lstrip("/")
        if not _V1.is_dir() and not controllers:
            return _V2 / path.lstrip("/")
    raise FaultError(f"process {pid} is in no control group of memory")


class MemorySqueeze(Fault):
    """Bounds what each target takes from now on: `mebibytes`; beyond that the kernel takes pages back, or ends it.

    What a process has already stays with the group that it was in when it took it.
    """

    def inject(self) -> None:
        """Make the groups and put the targets into them. FaultError: a target's process can never be seen from here."""
        for target in self.targets:
            if target.signals or not (target.pid_file or target.pid_command):
                raise FaultError(f"the memory of {target.name} cannot be bounded: {target.unseen}")
        for target in self.targets:
            process = target.process()
            if process is None:
                continue
            group = self._group(target.name)
            origin = _group_of(process.pid)
            mebibytes = int(self.arguments.get("mebibytes", 4))
            try:
                self._origin_path(target).write_bytes(msgspec.json.encode(_Origin(process.pid, str(origin))))
                group.mkdir()
                (group / self._limit).write_text(str(mebibytes * _MEBIBYTE))
                (group / "cgroup.procs").write_text(str(process.pid))
            except OSError as error:
                self.abort()
                raise FaultError(f"no control group for memory can be made here: {error}") from error
            self.note(f"{target.name} (pid {process.pid}): at most {mebibytes} MiB more")

    def abort(self) -> None:
        """Put them back into the groups that they were in, and remove the groups."""
        self.for_each(self._give_back)

    def check(self) -> list[str]:
        """Groups that are there still, and targets that are not in the group that they were in."""
        groups = [self._group(target.name) for target in self.targets]
        left = [f"{group} is there" for group in groups if group.exists()]
        for target in self.targets:
            process, origin = target.process(), self._origin(target)
            if process is not None and origin is not None and process.pid == origin.pid:
                group = _group_of(process.pid)
                if str(group) != origin.group:
                    left.append(f"{target.name} (pid {process.pid}) is in {group}, and was in {origin.group}")
        return left

    def _give_back(self, target: Service) -> None:
        group = self._group(target.name)
        if not group.exists():
            return
        origin = self._origin(target)
        # Its children are in its group, too.
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has ended
                (Path(origin.group if origin else group.parent) / "cgroup.procs").write_text(pid)
        group.rmdir()

    def _origin_path(self, target: Service) -> Path:
        return Path(self.arguments["folder"]) / f"{self.arguments['order']}.{target.name}.cgroup"

    def _origin(self, target: Service) -> _Origin | None:
        path = self._origin_path(target)
        return from_json(path.read_bytes(), _Origin) if path.exists() else None

    @property
    def _limit(self) -> str:
        return "memory.limit_in_bytes" if _V1.is_dir() else "memory.max"

    def _group(self, name: str) -> Path:
        root = _V1 if _V1.is_dir() else _V2
        return root / f"backbeat-drill-{os.getuid()}-{name}-{self.arguments.get('order', 'none')}"
