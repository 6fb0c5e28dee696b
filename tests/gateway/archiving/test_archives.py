"""Archives: what they hold is what was put into them, in folders and buckets, whole or not at all."""

from __future__ import annotations

import gzip
import io
import json

import boto3
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.errors import InvalidParameters, NotFound, Unavailable
from backbeat.gateway.archiving import ArchiveError, open_archive_store, read_archive, split_address
from backbeat.gateway.archiving.content import Writer
from backbeat.gateway.archiving.stores import archive_name
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import NodeView, WorkflowView

AT = 1_790_000_000_123
ID = bytes(range(16))
WORKFLOW = WorkflowView(
    id=ID, user_id=b"u" * 16, name="Camera sale", subject=b'{"order id": 1.50}', decider="D", created_at=AT,
    updated_at=AT + 5, complete=True, paused=False,
)  # fmt: skip


def node(number: int, parent: int | None = None, **changes: object) -> NodeView:
    given = {
        "id": bytes(15) + bytes([number]),
        "workflow_id": ID,
        "parent_id": None if parent is None else bytes(15) + bytes([parent]),
        "user_id": b"u" * 16,
        "name": f"n{number}",
        "mode": Mode.NON_BLOCKING,
        "type": "activity",
        "client_data": b'{"name":"n","params":[1.50,{"b":1,"a":2}]}',
        "metadata": b"{}",
        "subject": WORKFLOW.subject.replace(b" 1.50", b"1.50"),
        "decider": "D",
        "workflow_name": "Camera sale",
        "server": ServerStatus.COMPLETE,
        "client": ClientStatus.COMPLETE,
        "created_at": AT,
        "fires_at": AT + 7,
        "attempt": 2,
        "complete_by": None,
        "retries_remaining": 6,
        "retry_interval_seconds": 0.25,
        "parent_link_id": None,
        "depth": 1 if parent is None else 2,
        "seq": number,
        "tid": "tid",
        **changes,
    }
    return NodeView(**given)


NODES = [node(1), node(2, 1, complete_by=AT + 1, parent_link_id=ID), node(3, 1), node(4)]
HISTORY = (
    StatusChange(True, ServerStatus.READY, ServerStatus.STARTED, AT, None),
    StatusChange(False, ClientStatus.RECEIVED, ClientStatus.ERRORED, AT + 1, b'{"error":"no"}'),
)


def written(nodes=NODES, history=HISTORY) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, "shop", WORKFLOW)
    for record in nodes:
        writer.add(record, history)
    writer.end()
    return file.getvalue()


# --- content ---------------------------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_written():
    archive = read_archive(io.BytesIO(written()), "one")
    assert archive.client == "shop"
    assert (archive.workflow.id, archive.workflow.subject) == (ID, b'{"order id":1.50}')
    assert archive.nodes == NODES
    assert archive.history == {record.id: HISTORY for record in NODES}


def test_the_same_workflow_is_the_same_file():
    assert written() == written()


def test_it_is_lines_of_json():
    data = node(1, client_data=b'{\n  "a": [1,\n 2]\n}')
    lines = [json.loads(line) for line in gzip.decompress(written([data])).splitlines()]
    assert lines[0]["format"] == "backbeat-archive"
    assert lines[1]["node"]["clientData"] == {"a": [1, 2]}
    assert lines[1]["statusChanges"][0]["response"] is None
    assert lines[2] == {"nodes": 1}


def test_a_response_that_is_no_json_is_kept_as_text():
    history = (StatusChange(False, ClientStatus.RECEIVED, ClientStatus.COMPLETE, AT, b"\xffnot json"),)
    archive = read_archive(io.BytesIO(written([node(1)], history)), "one")
    assert archive.history[NODES[0].id][0].response == '"\ufffdnot json"'.encode()


@pytest.mark.parametrize("size", [0, 1, 20, -9, -1])
def test_a_file_that_was_cut_is_known(size):
    with pytest.raises(ArchiveError, match="What to do"):
        read_archive(io.BytesIO(written()[:size]), "one")


@pytest.mark.parametrize("lines", [
    [b'{"format":"backbeat-archive","version":2}'], [b'{"format":"else","version":1}'], [b"no json"], [b"{}"],
])  # fmt: skip
def test_other_files_are_no_archives(lines):
    with pytest.raises(ArchiveError, match="one"):
        read_archive(io.BytesIO(gzip.compress(b"\n".join(lines))), "one")


def test_a_status_of_a_later_version_is_no_defect():
    lines = gzip.decompress(written()).replace(b'"currentServerStatus":"', b'"currentServerStatus":"asleep_')
    with pytest.raises(ArchiveError, match="asleep"):
        read_archive(io.BytesIO(gzip.compress(lines)), "one")


@pytest.mark.parametrize("left_out", [1, 2, 5])
def test_a_line_that_is_missing_is_missed(left_out):
    lines = gzip.decompress(written()).splitlines()
    del lines[left_out]
    with pytest.raises(ArchiveError, match="was cut"):
        read_archive(io.BytesIO(gzip.compress(b"\n".join(lines))), "one")


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket():
    """A bucket of an S3 server on loopback, which stands in for the real one."""
    # Not above: it costs as much as all else that a process imports to collect the tests.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="archives")
        yield f"s3://archives/some/prefix?endpoint={endpoint}"
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def url(request, tmp_path):
    if request.param == "folder":
        return tmp_path.as_uri()
    bucket_url = request.getfixturevalue("bucket")
    return bucket_url.replace("prefix", request.node.name.replace("[", "-").replace("]", ""))


def test_an_archive_takes_the_place_of_the_same_one(url):
    place = open_archive_store(url)
    name = archive_name("shop", WORKFLOW)
    for content in (b"older", written()):
        place.put(name, io.BytesIO(content))
    with place.open(name) as file:
        assert read_archive(file, name).nodes == NODES
    assert list(place.names()) == [name]
    other = archive_name("another shop", WORKFLOW)
    place.put(other, io.BytesIO(b"x"))
    assert list(place.names()) == sorted([name, other])
    assert list(place.names("shop")) == [name]
    with pytest.raises(NotFound):
        place.open("shop/none.jsonl.gz")


def test_folders_are_looked_through_page_by_page(url):
    place = open_archive_store(url)
    assert place.children("", 5) == []
    for name in ("a/b/c.jsonl.gz", "a/b/d.jsonl.gz", "a b/e.jsonl.gz", "z/f.jsonl.gz", "a/x.jsonl.gz"):
        place.put(name, io.BytesIO(b"x"))
    assert place.children("", 5) == ["a b/", "a/", "z/"]
    assert place.children("", 2) == ["a b/", "a/"]
    assert place.children("", 2, "a/") == ["z/"]
    assert place.children("a", 5) == ["b/", "x.jsonl.gz"]
    assert place.children("a", 5, "b/") == ["x.jsonl.gz"]
    assert place.children("a/b", 1, "c.jsonl.gz") == ["d.jsonl.gz"]
    assert place.children("none", 5) == []


@pytest.mark.parametrize("command", ["show", "tree"])
def test_an_archive_is_read_by_its_address(url, command):
    place = open_archive_store(url)
    name = archive_name("shop", WORKFLOW)
    address = place.put(name, io.BytesIO(written()))
    if "?" in url:
        address += url[url.index("?") :]
    addresses = [address] if "?" in url else [address, address.removeprefix("file://").replace("%20", " ")]
    for address in addresses:
        done = CliRunner().invoke(backbeat, ["archive", command, address], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert all(record.name in done.stdout for record in NODES)


def test_places_that_cannot_be_used_say_so(tmp_path, bucket):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="does not take an archive"):
        open_archive_store((tmp_path / "file").as_uri()).put("shop/a.jsonl.gz", io.BytesIO(b""))
    with pytest.raises(Unavailable, match="There is no folder"):
        list(open_archive_store((tmp_path / "none").as_uri()).names())
    missing = open_archive_store(bucket.replace("//archives", "//none"))
    for use in (lambda: missing.put("a", io.BytesIO(b"")), lambda: list(missing.names()), lambda: missing.open("a")):
        with pytest.raises(Unavailable, match="s3://none"):
            use()
    with pytest.raises(InvalidParameters, match="is no URL of a store"):
        open_archive_store("ftp://x/y")
    with pytest.raises(InvalidParameters, match="is no archive"):
        split_address("s3://bucket/prefix/file.txt")


@pytest.mark.parametrize("text", ["..", ".", "a/b", "ü" * 300, "x" * 500, "Camera sale", "%2E"])
def test_a_name_is_a_path_of_its_own_in_its_place(text, tmp_path):
    named = WorkflowView(**{name: getattr(WORKFLOW, name) for name in WORKFLOW.__struct_fields__} | {"name": text})
    name = archive_name(text, named)
    assert len(name.split("/")) == 4
    path = (tmp_path / name).resolve()
    assert path.is_relative_to(tmp_path)
    open_archive_store(tmp_path.as_uri()).put(name, io.BytesIO(b"x"))
    assert path.read_bytes() == b"x"


def test_names_tell_apart_what_is_not_the_same():
    texts = ["..", "%2E.", ".a", "%2Ea", "a/b", "a%2Fb", "x" * 500, "x" * 501]
    assert len({archive_name(text, WORKFLOW) for text in texts}) == len(texts)
