"""A worker of `bank`, a process of its own: each transfer is a connection to the bank."""

import asyncio
import sys

from backbeat import Worker, activity, current

_PORT = int(sys.argv[3])


@activity("Pay merchants")
async def pay_merchants(count: int) -> None:
    current().spread(send_to_bank, range(count))


@activity("Send to Bank")
async def send_to_bank(merchant: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", _PORT)
    try:
        writer.write(f"{current().id}\n".encode())
        await writer.drain()
        assert await reader.readline() == b"done\n"
    finally:
        writer.close()
        await writer.wait_closed()
    return merchant


if __name__ == "__main__":
    Worker(
        sys.argv[1], sys.argv[2], concurrency=20, activities=[pay_merchants, send_to_bank], session_timeout_seconds=2
    ).serve()
