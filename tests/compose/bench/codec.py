"""What a record costs: microseconds to write and to read, beside fastavro on the same bytes.

python tests/compose/bench/codec.py
"""

import io
import timeit

import fastavro
import msgspec

from backbeat.schemas import codec
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.messages import commands
from backbeat.schemas.messages.history import NodeChange, StatusChange
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.core import effects

NODE_ID, WORKFLOW_ID, USER_ID = b"n" * 16, b"w" * 16, b"u" * 16
NOW = 1_790_000_000_000
CHANGE = commands.ChangeNode(
    id=b"i" * 16,
    user_id=USER_ID,
    tid="t" * 32,
    node_id=NODE_ID,
    status="completed",
    response=b'{"jsonrpc":"2.0","result":{"reserved":true},"error":null,"id":null}',
    attempt=1,
)
CHILD = commands.NewNode(name="Notify Customer", user_id=USER_ID)
NODE = NodeView(
    id=NODE_ID,
    workflow_id=WORKFLOW_ID,
    parent_id=NODE_ID,
    user_id=USER_ID,
    name="Make Purchase",
    mode=Mode.BLOCKING,
    type="activity",
    client_data=b'{"name":"Make Purchase","params":[1,2,3]}',
    metadata=b"{}",
    subject=b'"Camera 703"',
    decider="Purchases",
    workflow_name="Purchases",
    server=ServerStatus.SENT_TO_CLIENT,
    client=ClientStatus.RECEIVED,
    created_at=NOW,
    fires_at=NOW,
    attempt=1,
    complete_by=NOW + 172_800_000,
    retries_remaining=6,
    retry_interval_seconds=1200.0,
    parent_link_id=None,
    depth=2,
    seq=7,
    tid="t" * 32,
)
CHANGED = effects.StatusChanged(
    WORKFLOW_ID,
    tuple(
        NodeChange(NODE_ID, StatusChange(True, ServerStatus.READY, ServerStatus.STARTED, NOW, None)) for _ in range(5)
    ),
)
JSON = (
    b'{"id":"order-1","workflow":"Purchases","subject":"Camera 703","decider":"Purchases",'
    b'"signal":"Make Purchase","client_data":{"name":"Make Purchase","params":[1,2,3]}}'
)
REPLY_TO = commands.ReplyTo(1, b"a" * 16, 77)


def cost(call, number: int = 20_000) -> float:
    """Microseconds a call: the best of several runs, since whatever disturbs only adds."""
    return min(timeit.repeat(call, number=number, repeat=7)) / number * 1e6


def fastavro_cost(value: bytes) -> tuple[float, float]:
    """The same record from a dict and into a dict."""
    schema = RECORDS[codec._wire.decode(value)[0]].parsed
    content = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)
    return (
        cost(lambda: fastavro.schemaless_writer(io.BytesIO(), schema, content)),
        cost(lambda: fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)),
    )


def main() -> None:
    with_children = msgspec.structs.replace(CHANGE, children=(CHILD, CHILD))
    request = codec.decode_request(JSON)
    rows = {
        "ChangeNode": (lambda: codec.encode_command(CHANGE), codec.decode_command),
        "ChangeNode, 2 children": (lambda: codec.encode_command(with_children), codec.decode_command),
        "Activity": (lambda: codec.encode_activity(effects.Dispatch(NODE).record()), codec.decode_activity),
        "StatusChanges, 5": (
            lambda: codec.encode_status_changes(CHANGED.records("t" * 32)[0]),
            codec.decode_status_changes,
        ),
        "NodeReply": (lambda: codec.encode_reply(REPLY_TO, NODE, "t"), codec.decode_reply),
        "SignalRequest": (lambda: codec.encode_signal(request), codec.decode_request),
    }
    print(f"{'µs a record':24}{'bytes':>7}{'write':>8}{'read':>8}   fastavro: {'write':>8}{'read':>8}")
    for name, (encode, decode) in rows.items():
        value = encode()
        theirs = fastavro_cost(value)
        ours = cost(encode), cost(lambda decode=decode, value=value: decode(value))
        print(f"{name:24}{len(value):7}{ours[0]:8.2f}{ours[1]:8.2f}             {theirs[0]:8.2f}{theirs[1]:8.2f}")
    print(f"{'signal in JSON':24}{len(JSON):7}{'':8}{cost(lambda: codec.decode_request(JSON)):8.2f}")


if __name__ == "__main__":
    main()
