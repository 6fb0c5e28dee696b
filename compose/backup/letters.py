"""Dead letters of commands in another number of partitions: a redrive goes to the partition that they name."""

from __future__ import annotations

import msgspec

from backbeat.compose.backup.parts import CopiedRecord
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.dead_letters import SOURCE_PARTITION, SOURCE_TOPIC
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.routes import route


def moved_letter(record: CopiedRecord, partitions: int) -> CopiedRecord:
    """The letter, with its command's new partition; others as they are.

    What an engine had sent loses its place of before, behind which another command is now: engines would take those
    before it for repeats.
    """
    headers = dict(record.headers)
    number = (headers.get(SOURCE_PARTITION) or b"").decode(errors="replace")
    if headers.get(SOURCE_TOPIC) != COMMANDS.encode() or not number.isdecimal():
        return record
    partition, value = int(number) % partitions, record.value
    try:
        command = codec.decode_command(value)
    except DecodeError:
        pass
    else:
        if (identity := route(command)) is not None:
            partition = partition_of(identity, partitions)
        if command.source is not None:
            value = codec.encode_command(msgspec.structs.replace(command, source=None))
    own = [(name, str(partition).encode() if name == SOURCE_PARTITION else content) for name, content in record.headers]
    return CopiedRecord(record.offset, record.timestamp, record.key, value, own)
