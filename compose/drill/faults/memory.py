"""Fault of memory: a control group around the targets that leaves them little more than they have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.topology.service import Service

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_MEBIBYTE = 1024 * 1024


class MemorySqueeze(Fault):
    """Bounds what each target takes from now on: `mebibytes`; beyond that the kernel takes pages back, or ends it.

    What a process has already stays with the group that it was in when it took it.
    """

    def inject(self) -> None:
        """Make the groups and put the targets into them."""
        for target in self.targets:
            process = target.process()
            if process is None:
                continue
            group = self._group(target.name)
            mebibytes = int(self.arguments.get("mebibytes", 4))
            try:
                group.mkdir()
                (group / self._limit).write_text(str(mebibytes * _MEBIBYTE))
                (group / "cgroup.procs").write_text(str(process.pid))
            except OSError as error:
                self.abort()
                raise FaultError(f"no control group for memory can be made here: {error}") from error
            self.note(f"{target.name} (pid {process.pid}): at most {mebibytes} MiB more")

    def abort(self) -> None:
        """Put them back into the group above, and remove the groups."""
        self.for_each(self._give_back)

    def check(self) -> list[str]:
        """Groups that are there still."""
        groups = [self._group(target.name) for target in self.targets]
        return [f"{group} is there" for group in groups if group.exists()]

    def _give_back(self, target: Service) -> None:
        group = self._group(target.name)
        if not group.exists():
            return
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()

    @property
    def _limit(self) -> str:
        return "memory.limit_in_bytes" if _V1.is_dir() else "memory.max"

    def _group(self, name: str) -> Path:
        root = _V1 if _V1.is_dir() else _V2
        return root / f"backbeat-drill-{os.getuid()}-{name}-{self.arguments.get('order', 'none')}"
