"""A worker of a share group, a process of its own: says which activities it has begun, and ends them when told to."""

import asyncio
import sys

from backbeat import Worker, activity


@activity("Work")
async def work(number: int) -> None:
    print(number, flush=True)
    # Until it is killed.
    await asyncio.Event().wait()


if __name__ == "__main__":
    Worker(sys.argv[1], sys.argv[2], concurrency=3, delivery="share", activities=[work]).serve()
