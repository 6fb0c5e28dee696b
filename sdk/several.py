"""Several workers in one process."""

from __future__ import annotations

import asyncio

from backbeat.worker.worker import Worker


async def run(*workers: Worker, handle_signals: bool = True) -> None:
    """Run several workers in one event loop, until each is stopped or a signal comes. If one fails, all stop."""
    tasks = [asyncio.ensure_future(worker.run(handle_signals=handle_signals)) for worker in workers]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        # Each stops as it does when its own run() is cancelled.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for worker in workers:
            worker.stop()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if error is not None:
            raise error
