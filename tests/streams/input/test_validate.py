"""What the rules refuse before it can hurt anybody later: texts, depths, times, ids, settings, bounds of limits."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from backbeat.schemas.kafka.topics import RECORD_BYTES_MAX
from backbeat.schemas.messages import bounds
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.activities import error_text
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.json_text import JsonTextError, TooDeepError, check_depth, parse
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.status import CLOSED
from backbeat.streams.core.effects import Notify
from backbeat.streams.core.limits import slots
from backbeat.streams.core.tables import WORKFLOWS
from tests.streams.core.rig import CAMERA, CAMERA_ID, Rig, id_of, new, running, workflow
from tests.streams.core.test_slots import BANK, Bank, limited
from tests.streams.core.world import USER, World


def nested(depth: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A text so many levels deep."""
    return before + b"[" * depth + b"]" * depth + after


# --- JSON ------------------------------------------------------------------------------------------------------------

BAD_TEXTS = {
    "too large a number": b'{"x":1e400}',
    "too small a number": b'{"x":-1e400}',
    "bytes": b'{"x":"\xff"}',
    "a key of bytes": b'{"\xff":1}',
    "half a pair": b'{"x":"\\ud800"}',
    "NaN": b'{"x":NaN}',
    "infinity": b'{"x":Infinity}',
    "digits": b'{"x":' + b"1" * 5_000 + b"}",
    "open": b'{"x":[',
    "empty": b"",
    "more": b"{} {}",
}


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_text_that_not_everybody_could_read_is_refused_where_it_comes_in(text):
    rig = running(new("a"), new("b"))
    for field in ("client_data", "metadata"):
        answer = rig.signal("other", **{field: text}).reply
        assert answer.reason is Reason.INVALID_PARAMETERS, answer
        assert "JSON" in answer.message
        assert rig.add("a", new("child", **{field: text})).reply.reason is Reason.INVALID_PARAMETERS
    for status in ("completed", "errored"):
        assert rig.say(status, "a", response=text).reply.reason is Reason.INVALID_PARAMETERS
    subject = rig.signal("other", of=workflow(text)).reply
    assert subject.reason is Reason.INVALID_PARAMETERS
    job = rig.ask(c.StartJob, partition=0, action="resolve", response=text).reply
    assert job.reason is Reason.INVALID_PARAMETERS
    rig.complete("a", response=b"1e5")


@pytest.mark.parametrize(
    "text", [b'{"x":123456789012345678901234567890}', b'{"x":1e-400}', '{"größe":"\\u0000"}'.encode()]
)
def test_a_text_that_everybody_can_read_is_kept_as_it_came(text):
    rig = Rig()
    rig.signal("signal", client_data=text, metadata=text)
    assert (rig.row("signal").client_data, rig.row("signal").metadata) == (text, text)


def test_a_result_that_is_no_json_is_its_nodes_error():
    rig = running(new("a", retries=0))
    (notification,) = rig.complete("a", response=b'{"x":1e400}', attempt=1, reply_to=None).of(Notify)
    assert b"The response is no JSON" in notification.error


def test_how_deep_a_text_may_be_is_a_setting_not_the_stack():
    """A replay at another depth of calls, or by another Python, refuses the same."""
    rig = Rig(settings=Settings(json_depth_max=50))

    def at_depth(calls: int, work: Callable[[], None]) -> None:
        if calls:
            at_depth(calls - 1, work)
        else:
            work()

    def signal_both() -> None:
        taken = rig.signal("fits", client_data=nested(49, b'{"a":', b"}")).reply
        assert taken.name == "fits"
        refused = rig.signal("deep", client_data=nested(50, b'{"a":', b"}")).reply
        assert (refused.reason, refused.wanted) == (Reason.LIMIT_EXCEEDED, "json_depth_max 50")

    for calls in (0, 200):
        at_depth(calls, signal_both)
        rig = Rig(settings=Settings(json_depth_max=50))


@pytest.mark.parametrize("opened", [b"[", b'{"a":', b"{", b'[{"a":'])
@pytest.mark.parametrize("count", [201, 3_000, 100_000])
def test_no_depth_is_too_much(opened, count):
    for text in (opened * count, opened * count + b"1"):
        with pytest.raises(JsonTextError):
            parse(text, 200)
    rig = running(new("a"))
    settings = rig.stores[0].meta.settings
    if len(opened) * count < settings.payload_bytes_max:
        assert rig.signal("other", client_data=b'{"a":' + opened * count + b"}").reply.reason in (
            Reason.LIMIT_EXCEEDED,
            Reason.INVALID_PARAMETERS,
        )
        assert isinstance(rig.say("errored", "a", response=opened * count).reply.reason, Reason)


def test_the_depth_of_a_text_is_the_depth_of_its_value():
    chance = random.Random(5)
    words = ["a", '"', "\\", "[", "{", "}]", '\\"', "é"]

    def value(left: int) -> object:
        kind = chance.random()
        if left == 0 or kind < 0.3:
            return chance.choice((1, None, "".join(chance.choices(words, k=chance.randrange(6)))))
        if kind < 0.65:
            return [value(left - 1) for _ in range(chance.randrange(1, 4))]
        return {"".join(chance.choices(words, k=3)) + str(at): value(left - 1) for at in range(chance.randrange(1, 3))}

    def depth(part: object) -> int:
        if isinstance(part, dict):
            part = list(part.values())
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    for _ in range(500):
        content = value(chance.randrange(9))
        text = msgspec.json.encode(content)
        check_depth(text, depth(content))
        for less in range(1, depth(content)):
            with pytest.raises(TooDeepError):
                check_depth(text, less)


def test_a_limit_keyed_by_what_was_taken_before_texts_were_looked_into():
    """The key of a stored node is read when its parent completes: long after the text was taken."""
    for text in (*BAD_TEXTS.values(), nested(5_000, b'{"x":', b"}")):
        assert slots._key_in(text, ("x",)) == "null"
    assert slots._key_in(b'{"x":[1,2]}', ("x",)) == "[1,2]"


def test_an_error_that_was_taken_before_texts_were_looked_into():
    for text in (*BAD_TEXTS.values(), nested(5_000), nested(5_000, b'{"error":', b"}")):
        assert error_text(text) == text.decode(errors="replace")


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [2**63 - 1, -(2**63), bounds.TIME_MAX + 1, bounds.TIME_MIN - 1])
def test_a_time_that_cannot_be_written_back(at):
    rig = running(new("a"))
    for answer in (rig.signal("late", fires_at=at).reply, rig.add("a", new("late", fires_at=at)).reply):
        assert answer.reason is Reason.INVALID_PARAMETERS
        assert "fires_at is no time that can be written" in answer.message


@pytest.mark.parametrize("at", [bounds.TIME_MAX, bounds.TIME_MIN, 0, -1])
def test_a_time_that_can_be_written_back(at):
    rig = Rig()
    rig.signal("signal", fires_at=at)
    assert rig.row("signal").fires_at == at


# --- ids -------------------------------------------------------------------------------------------------------------


def test_the_id_of_a_workflow_is_derived_from_what_it_is_of():
    """A slip of a foreign client would put a workflow where nobody finds it."""
    rig = Rig(4)
    other = id_of(workflow(b'"Other"'))
    answer = rig.ask(c.Signal, workflow_id=other, workflow=CAMERA, node=new("signal", type="decision")).reply
    assert (answer.reason, answer.found, answer.wanted) == (Reason.INVALID_PARAMETERS, other.hex(), CAMERA_ID.hex())
    assert not any(store[WORKFLOWS] for store in rig.stores)
    rig.signal("signal")


def test_a_link_whose_signal_has_a_wrong_id_is_closed_again():
    rig = running(new("a"))
    node = new("signal", type="decision", parent_link_id=rig["a"])
    rig.ask(c.Signal, workflow_id=id_of(workflow(b'"Other"')), workflow=CAMERA, node=node)
    rig.complete("a")
    assert rig.row("a").server in CLOSED


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_setting_has_bounds():
    assert set(bounds.SETTINGS) == set(Settings.__struct_fields__) - {"version"}
    for name, (least, most) in bounds.SETTINGS.items():
        assert least <= getattr(Settings(), name) <= most


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in bounds.SETTINGS),
        *((name, -1) for name in bounds.SETTINGS),
        *((name, 2**31 - 1) for name in bounds.SETTINGS if name.endswith("_max")),
        ("payload_bytes_max", 5_000_000),
        ("answer_retention_seconds", 1e300),
        ("default_timeout_seconds", float("inf")),
        ("version", 2),
    ],
)
def test_settings_that_would_stop_the_engine(name, value):
    rig = Rig()
    answer = rig.ask(c.ChangeSettings, settings=msgspec.structs.replace(Settings(), **{name: value})).reply
    assert answer.reason is Reason.INVALID_PARAMETERS
    assert rig.stores[0].meta.settings == Settings()


def test_two_who_change_different_settings_lose_nothing():
    rig = Rig()
    rig.ask(c.ChangeSettings, settings=Settings(depth_max=7, children_max=3), names=("depth_max",))
    rig.ask(c.ChangeSettings, settings=Settings(json_depth_max=9), names=("json_depth_max",))
    assert rig.stores[0].meta.settings == Settings(depth_max=7, json_depth_max=9)


def test_a_setting_that_is_not_there():
    rig = Rig()
    answer = rig.ask(c.ChangeSettings, settings=Settings(depth_max=7), names=("depth_max", "version")).reply
    assert (answer.reason, answer.found) == (Reason.INVALID_PARAMETERS, "version")
    assert rig.stores[0].meta.settings == Settings()


def test_the_largest_record_that_settings_allow_fits():
    largest = Settings(**{name: type(getattr(Settings(), name))(most) for name, (_, most) in bounds.SETTINGS.items()})
    names = 8 * largest.name_bytes_max
    node = largest.record_bytes_max + largest.subject_bytes_max + names
    # A node, or a notification, with the newest response; a history record has it twice.
    assert node + largest.payload_bytes_max < RECORD_BYTES_MAX - 64 * 1024
    assert 2 * largest.payload_bytes_max + 80 * largest.slice_nodes_max < RECORD_BYTES_MAX - 64 * 1024
    # The meta record: each limit's name stands in four tables and in two limits, each policy's in two places.
    assert 8 * bounds.NAMES_BYTES_MAX + 1_000 * 300 < RECORD_BYTES_MAX - 64 * 1024


# --- limits and policies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"aging_seconds": 5e-324},
        {"rate_count": 1, "rate_period_seconds": 1e-300},
        {"rate_count": 1, "rate_period_seconds": 366 * 86_400.0, "rate_burst": 2**31 - 1},
    ],
)
def test_bounds_with_which_no_time_can_be_reckoned(values):
    assert Bank().limit(**values).reply.reason is Reason.INVALID_PARAMETERS


def test_starts_of_the_largest_burst_have_times_that_can_be_stored():
    bank = limited(rate_count=2**31 - 1, rate_period_seconds=366 * 86_400.0, rate_burst=90, aging_seconds=0.001)
    assert bank.stores[0].meta.limits
    assert BANK in {limit.activity for limit in bank.stores[0].meta.limits.values()}


def test_names_of_limits_and_policies_leave_room_in_the_record_of_each_commit():
    world = World()
    answers = [
        world.do(
            c.ChangeLimit(
                id=world.new_id(),
                client_id=USER,
                activity=f"{number:04d}" + "n" * 1_000,
                paused=True,
                reply_to=c.ReplyTo(0, USER, number),
            )
        ).reply
        for number in range(200)
    ]
    refused = [answer for answer in answers if getattr(answer, "reason", None) is Reason.LIMIT_EXCEEDED]
    assert 50 < len(refused) < 150
    for number in range(200):
        policy = RetentionPolicy(owner_id=USER, name=f"{number:04d}" + "n" * 1_000, keep_seconds=5.0)
        world.do(c.ChangeRetention(id=world.new_id(), policy=policy))
    assert len(world.stores[0].meta.retention) < 150
    assert len(msgspec.msgpack.encode(world.stores[0].meta)) < RECORD_BYTES_MAX // 2
