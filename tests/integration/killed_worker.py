"""The worker of `killing`, a process of its own: notes every run of a handler, and what it ran, in a file."""

import asyncio
import os
import sys

from backbeat import Worker, activity, current

_LEDGER = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)


def note() -> None:
    # One write a line: lines of several processes do not mix, and one that was killed leaves whole ones.
    os.write(_LEDGER, f"{current().id} {current().attempt}\n".encode())


@activity("Begin")
async def begin(count: int) -> None:
    note()
    current().spread(work, range(count))
    current().add(end)


@activity("Work")
async def work(number: int) -> int:
    note()
    # So that some are always under way when the process is killed.
    await asyncio.sleep(0.01)
    return number


@activity("End")
async def end() -> None:
    note()


if __name__ == "__main__":
    Worker(sys.argv[1], sys.argv[2], concurrency=20, activities=[begin, work, end], session_timeout_seconds=2).serve()
