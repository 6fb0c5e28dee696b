import dataclasses
import hashlib
import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import boto3
import msgspec
import pydantic
import pytest

from backbeat import BackbeatError, Fail, Unavailable, Worker, activity
from backbeat.codecs import MARK, Fernet, Json
from backbeat.errors import CodecError, InvalidParameters, LimitExceeded
from backbeat.payload.payload_codec import PayloadCodec, is_stored
from backbeat.payload.values import LIMITS, from_json, to_client_data, to_json
from backbeat.stores import FolderStore, open_store
from backbeat.worker.arguments import Arguments

T = TypeVar("T")
LARGE = ["x" * (LIMITS.payload_bytes_max + 1)]


@dataclasses.dataclass
class Camera:
    model: str
    price: Decimal


class Buyer(pydantic.BaseModel):
    name: str
    born: datetime


class Shop(msgspec.Struct):
    id: uuid.UUID


def sent(packed: Any) -> Any:
    """A payload as the other side gets it."""
    return from_json(to_json("payload", packed))


# --- codecs ------------------------------------------------------------------------------------------------------


def test_without_codec_and_store_a_value_passes_as_it_is() -> None:
    value = [1, {"a": None}]
    assert PayloadCodec().pack("arguments", value) is value
    assert PayloadCodec().is_plain


def test_what_fernet_sealed_only_its_key_opens() -> None:
    key, other = Fernet.new_key(), Fernet.new_key()
    packed = sent(PayloadCodec(Fernet(key)).pack("arguments", ["4000 1234"]))
    assert packed.keys() == {MARK, "data"}
    assert "4000" not in packed["data"]
    assert PayloadCodec(Fernet(key)).unpack("arguments", packed) == ["4000 1234"]
    with pytest.raises(CodecError, match=r"The params of node n-1 cannot be read: .*no key given here fits"):
        PayloadCodec(Fernet(other)).unpack("params of node n-1", packed)
    with pytest.raises(CodecError, match="written by the codec 'fernet'"):
        PayloadCodec().unpack("result", packed)


def test_keys_are_changed_one_party_at_a_time() -> None:
    old, new = Fernet.new_key(), Fernet.new_key()
    before, between, after = PayloadCodec(Fernet(old)), PayloadCodec(Fernet(old, new)), PayloadCodec(Fernet(new, old))
    for writer in (before, between, after):
        packed = sent(writer.pack("result", 1))
        for reader in (between, after):
            assert reader.unpack("result", packed) == 1
    # What was sent before anything was encrypted is still read.
    assert after.unpack("result", [1]) == [1]


def test_a_wrong_key_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidParameters, match="no Fernet key") as caught:
        Fernet("secret-but-short")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("packing", [PayloadCodec(), PayloadCodec(Json())])
def test_our_own_key_cannot_be_forged(packing: PayloadCodec) -> None:
    with pytest.raises(InvalidParameters, match=r"The result cannot be written.*Backbeat's own"):
        packing.pack("result", {MARK: "stored", "sha256": "0" * 64})


def test_a_codec_that_fails_says_on_what() -> None:
    class Broken:
        def encode(self, value: Any) -> Any:
            raise KeyError(value)

        decode = encode

    with pytest.raises(InvalidParameters, match="The result cannot be written: 'a'"):
        PayloadCodec(Broken()).pack("result", "a")
    with pytest.raises(CodecError, match="The result of node 7 cannot be read: 'a'"):
        PayloadCodec(Broken()).unpack("result of node 7", "a")


def test_values_of_rich_types_are_written_as_json() -> None:
    shop, born = uuid.uuid4(), datetime(1990, 1, 2, tzinfo=UTC)
    args = [Camera("M3", Decimal("99.50")), Buyer(name="Ann", born=born), Shop(shop)]
    expected = [{"model": "M3", "price": "99.50"}, {"name": "Ann", "born": "1990-01-02T00:00:00Z"}, {"id": str(shop)}]
    assert from_json(to_client_data("buy", args, None, None))["params"] == expected
    assert sent(PayloadCodec(Json()).pack("arguments", args)) == expected
    with pytest.raises(InvalidParameters, match="cannot be written as JSON"):
        to_client_data("buy", [object()], None, None)
    assert sent(PayloadCodec(Json(enc_hook=lambda value: type(value).__name__)).pack("arguments", [object()])) == [
        "object"
    ]


# --- arguments by annotation -------------------------------------------------------------------------------------


def test_annotations_say_what_arguments_become() -> None:
    def buy(camera: Camera, count: int, *shops: Shop, buyer: Buyer | None = None, **rest: Any) -> None: ...

    arguments = Arguments("buy", buy)
    shop = uuid.uuid4()
    assert arguments.by_place([{"model": "M3", "price": "1"}, "7", {"id": str(shop)}]) == [
        Camera("M3", Decimal(1)),
        # What JSON has itself is neither checked nor changed.
        "7",
        Shop(shop),
    ]
    with pytest.raises(Fail, match=r"argument camera of 'buy' is not what its annotation says: .*price"):
        arguments.by_name({"camera": {"model": "M3"}, "other": 1})


def test_pydantic_models_are_made_by_pydantic() -> None:
    def greet(buyer: Buyer) -> None: ...

    (buyer,) = Arguments("greet", greet).by_place([{"name": "Ann", "born": "1990-01-02T00:00:00Z"}])
    assert buyer == Buyer(name="Ann", born=datetime(1990, 1, 2, tzinfo=UTC))
    with pytest.raises(Fail, match=r"argument buyer of 'greet'.*born: Field required"):
        Arguments("greet", greet).by_name({"buyer": {"name": "Ann"}})


def _plain(a: int, b: str | None, c: dict[str, list[float]], d, *e: Iterable[str]) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("function", [_plain, print])
def test_what_needs_no_change_costs_none(function: Callable[..., Any]) -> None:
    assert Arguments("f", function).are_plain


class Strange:
    pass


class Line(pydantic.BaseModel):
    sku: str


@dataclasses.dataclass
class Cart:
    lines: list[Line]


@dataclasses.dataclass
class Refund:
    id: int
    why: str


@dataclasses.dataclass
class Charge:
    id: int


class Lines(msgspec.Struct):
    lines: dict[str, Line]


CONVERTED: list[tuple[Any, Any, Any]] = [
    (list[Line], [{"sku": "a"}], [Line(sku="a")]),
    (Line | None, {"sku": "a"}, Line(sku="a")),
    (dict[str, Line], {"x": {"sku": "a"}}, {"x": Line(sku="a")}),
    (tuple[Line, int], [{"sku": "a"}, 1], (Line(sku="a"), 1)),
    (Cart, {"lines": [{"sku": "a"}]}, Cart([Line(sku="a")])),
    (Lines, {"lines": {"a": {"sku": "a"}}}, Lines({"a": Line(sku="a")})),
    (Annotated[Line, pydantic.Field()], {"sku": "a"}, Line(sku="a")),
    (Charge | Refund, {"id": 1, "why": "x"}, Refund(1, "x")),
    (Charge | Refund, {"id": 1}, Charge(1)),
    (date | str, "2026-01-01", "2026-01-01"),
    (tuple[int, str], [3, "a"], (3, "a")),
    (dict[int, str], {"3": "a"}, {3: "a"}),
    (dict[date, int], {"2026-01-01": 1}, {date(2026, 1, 1): 1}),
    (list[T], [1], [1]),
]


@pytest.mark.parametrize(("annotation", "value", "made"), CONVERTED, ids=lambda case: str(case)[:40])
def test_an_annotation_is_what_its_argument_is_made_into(annotation: Any, value: Any, made: Any) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation}
    (argument,) = Arguments("f", function).by_place([value])
    assert argument == made
    assert type(argument) is type(made)


@pytest.mark.parametrize("annotation", [list[Line], Line | None, Cart, Annotated[int, pydantic.Field(gt=5)]], ids=str)
def test_an_argument_that_does_not_fit_is_told_without_its_value(annotation: Any) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation}
    arguments = Arguments("f", function)
    for value in (-4711, [{"sku": -4711}], {"lines": [{"sku": -4711}]}):
        with pytest.raises(Fail, match="argument x of 'f' is not what its annotation says") as failed:
            arguments.by_place([value])
        assert "4711" not in str(failed.value)


def _strange(a: Strange) -> None: ...
def _unknown(a: "NowhereDefined") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _broken(a: "list[") -> None: ...  # type: ignore[valid-type]  # noqa: F722


class Called:
    def __call__(self, a: "date", b: "NowhereDefined | None" = None) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_strange, "parameter a of 'f' is annotated with Strange, which no JSON value can be made into"),
        (_unknown, "parameter a of 'f' is annotated with NowhereDefined, and name 'NowhereDefined' is not defined"),
        (_broken, r"parameter a of 'f' is annotated with list\[, which cannot be read"),
    ],
)
def test_what_nothing_can_be_made_into_is_refused_where_it_is_registered(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(BackbeatError, match=why):
        Worker(activities=[activity("f")(function)])


def test_one_annotation_that_cannot_be_read_leaves_the_others_alone() -> None:
    arguments = Arguments("f", Called())
    assert arguments.by_place(["2026-01-01"]) == [date(2026, 1, 1)]
    assert arguments.by_name({"a": "2026-01-01", "b": None}) == {"a": date(2026, 1, 1), "b": None}
    with pytest.raises(Fail, match="name 'NowhereDefined' is not defined"):
        arguments.by_place(["2026-01-01", 1])


# --- stores ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
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
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="payloads")
        yield f"s3://payloads/some/prefix?endpoint={endpoint}"
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return (tmp_path / "my store").as_uri()
    return str(request.getfixturevalue("bucket"))


def test_what_is_too_large_goes_to_the_store_and_comes_back(store: str) -> None:
    key = Fernet.new_key()
    packing = PayloadCodec(Fernet(key), store)
    reference = sent(packing.pack("result", LARGE))
    assert is_stored(reference)
    assert reference["bytes"] > LIMITS.payload_bytes_max
    assert reference["url"].endswith(reference["sha256"])
    assert PayloadCodec(Fernet(key), store).unpack("result", reference) == LARGE
    # The same text a second time is the same object.
    small = sent(PayloadCodec(store=store, store_above_bytes=1).pack("result", ["a"]))
    assert sent(PayloadCodec(store=store, store_above_bytes=1).pack("result", ["a"])) == small
    with pytest.raises(CodecError, match=r"it is in a store, .*give this client or worker that store"):
        PayloadCodec().unpack("result", reference)


def test_what_fits_stays_in_the_record(store: str) -> None:
    assert sent(PayloadCodec(store=store).pack("result", ["small"])) == ["small"]


def test_a_payload_that_is_gone_says_where_it_was(store: str) -> None:
    digest = hashlib.sha256(b"never stored").hexdigest()
    with pytest.raises(CodecError, match=f"params of node 7 cannot be read: .*{digest} is not there"):
        PayloadCodec(store=store).unpack("params of node 7", {MARK: "stored", "sha256": digest, "url": "", "bytes": 1})
    with pytest.raises(CodecError, match="is no SHA-256"):
        PayloadCodec(store=store).unpack("params", {MARK: "stored", "sha256": "../../etc/passwd"})


def test_a_payload_that_was_changed_is_not_taken(tmp_path: Path) -> None:
    packing = PayloadCodec(store=tmp_path.as_uri(), store_above_bytes=1)
    reference = packing.pack("result", "abc")
    (written,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    written.write_bytes(b'"abd"')
    with pytest.raises(CodecError, match="is not what was stored"):
        packing.unpack("result", reference)


def test_a_store_that_is_not_there_is_unavailable(tmp_path: Path, bucket: str) -> None:
    taken = tmp_path / "file"
    taken.write_text("no folder")
    with pytest.raises(Unavailable, match="does not take a payload"):
        FolderStore(taken).put("0" * 64, b"1")
    with pytest.raises(Unavailable, match="cannot be read"):
        PayloadCodec(store=taken.as_uri()).unpack("result", {MARK: "stored", "sha256": "0" * 64})
    nowhere = open_store(bucket.replace("s3://payloads", "s3://no-such-bucket"))
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        nowhere.put("0" * 64, b"1")


@pytest.mark.parametrize(
    "url",
    ["/var/store", "file:///", "s3:///prefix", "ftp://host/folder", "s3://bucket?endpont=http://x", "file://far/x"],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameters, match="is no URL of a store"):
        open_store(url)


def test_without_a_store_the_limit_is_named_at_the_caller() -> None:
    with pytest.raises(LimitExceeded, match=r"payload_bytes_max is 262144.*store=") as caught:
        to_client_data("buy", LARGE, None, None, PayloadCodec().pack)
    assert pickle.loads(pickle.dumps(caught.value)).reason == "limit_exceeded"  # noqa: S301 - our own


def test_a_handler_may_use_a_variable_that_is_assigned_later() -> None:
    def buy(camera: Camera) -> str:
        return f"{camera.model} under {number}"

    arguments = Arguments("Buy", buy)
    number = 7

    (camera,) = arguments.by_place([{"model": "X", "price": "1.5"}])
    assert buy(camera) == "X under 7"
