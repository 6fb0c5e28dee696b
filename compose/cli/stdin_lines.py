"""Lines of standard input, each as soon as it is there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import threading
from collections.abc import AsyncIterator, Callable

import click

from backbeat.compose.cli.exit_codes import CommandError

_CHUNK_BYTES = 65_536
#: Chunks that are read ahead of the caller.
_AHEAD_MAX = 16
#: Longer than any record: what comes without line breaks is not kept for ever.
_LINE_BYTES_MAX = 16 * 1024 * 1024


async def read_lines() -> AsyncIterator[bytes | None]:
    """The lines, without their breaks; None whenever there is no other line just now.

    A thread reads, so that the event loop goes on meanwhile with what the lines began. It may wait for a line that
    never comes, and the process ends all the same.
    """
    chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    free_chunks = threading.Semaphore(_AHEAD_MAX)
    loop = asyncio.get_running_loop()

    def read_all(read: Callable[[int], bytes]) -> None:
        chunk: bytes | OSError = b"-"
        # The loop is closed where nobody takes lines any more.
        with contextlib.suppress(RuntimeError):
            while chunk and not isinstance(chunk, OSError):
                free_chunks.acquire()
                try:
                    chunk = read(_CHUNK_BYTES)
                except OSError as error:
                    chunk = error
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)

    threading.Thread(target=read_all, args=(_reader(),), daemon=True).start()
    remainder = b""
    while chunk := await chunks.get():
        if isinstance(chunk, OSError):
            raise chunk
        free_chunks.release()
        *lines, remainder = (remainder + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(remainder) > _LINE_BYTES_MAX:
            raise CommandError(f"standard input: a line has more than {_LINE_BYTES_MAX} bytes.")
        if chunks.empty():
            yield None
    if remainder:
        yield remainder


def _reader() -> Callable[[int], bytes]:
    """A function that returns the next bytes, and waits where there are none."""
    stdin = click.get_binary_stream("stdin")
    try:
        descriptor = stdin.fileno()
    except io.UnsupportedOperation:
        return stdin.read1  # type: ignore[attr-defined,no-any-return]  # in tests: bytes in memory
    # Not by the buffered file: a thread that waits in it may not be left behind when Python ends.
    return lambda size: os.read(descriptor, size)
