import asyncio
import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backbeat import Fail, activity, current
from backbeat.activities.context import Activity
from backbeat.activities.definition import ActivityFunction
from backbeat.codecs import Fernet
from backbeat.errors import BackbeatError, Cancelled
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.commands import AddChildren, ChangeNode
from backbeat.worker.extensions.middleware import Call, CallNext
from backbeat.worker.handlers import Handler, Handlers
from backbeat.worker.runner import Runner
from tests.waiting import until_async

View = Callable[..., Any]


class Environment:
    """A worker without Kafka: nothing of it is asked here."""

    def user_id(self, client: str | None) -> bytes:
        return b"u" * 16

    def now(self) -> float:
        return 1_700_000_000.0

    def ask(self, question: Any) -> Any:
        raise AssertionError("nothing is to be asked")


def runner_of(*activities: ActivityFunction[..., Any]) -> Runner:
    handlers = Handlers()
    for function in activities:
        handlers.add(Handler(function))
    return Runner(handlers, Environment())


def opened(runner: Runner, view: View, name: str, **changes: Any) -> Activity:
    return runner.open(ActivityRecord(view(name=name, client_data=b"{}", **changes), ActivityKind.ACTIVITY))


class DeclinedError(Fail):
    """The bank will never take it."""


async def test_fail_says_that_trying_again_is_no_use(view: View) -> None:
    @activity
    async def pay() -> None:
        try:
            raise KeyError("card")  # noqa: TRY301 - the cause
        except KeyError as error:
            raise DeclinedError("never") from error

    @activity
    def transfer() -> None:
        raise ValueError("perhaps later")

    runner = runner_of(pay, transfer)
    (answer,) = await runner.run(opened(runner, view, "pay"))
    assert (answer.status, answer.retriable) == ("errored", False)
    error = json.loads(answer.response)["error"]
    assert error["message"] == "DeclinedError: never"
    # Cause and traceback travel to the tree.
    assert "KeyError: 'card'" in error["data"]
    (answer,) = await runner.run(opened(runner, view, "transfer"))
    assert (answer.status, answer.retriable) == ("errored", True)


async def test_an_asynchronous_activity_is_not_answered_by_returning(view: View) -> None:
    @activity(asynchronous=True)
    async def ask_human(*, add: bool = False, fail: bool = False) -> str:
        if add:
            current().add("Remind")
        if fail:
            raise ValueError("no")
        return "nobody sees this"

    runner = runner_of(ask_human)
    assert await runner.run(opened(runner, view, "ask_human")) == []
    attempt = runner.open(
        ActivityRecord(view(name="ask_human", client_data=b'{"params":{"add":true}}'), ActivityKind.ACTIVITY)
    )
    (added,) = await runner.run(attempt)
    assert isinstance(added, AddChildren)
    attempt = runner.open(
        ActivityRecord(view(name="ask_human", client_data=b'{"params":{"fail":true}}'), ActivityKind.ACTIVITY)
    )
    (answer,) = await runner.run(attempt)
    assert isinstance(answer, ChangeNode)
    assert answer.status == "errored"


@pytest.mark.parametrize("ending", ["returns", "raises", "is cancelled"])
async def test_what_is_over_is_told_and_its_answer_dropped(view: View, ending: str) -> None:
    begun = asyncio.Event()

    @activity
    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert current().cancelled
            if ending == "raises":
                raise ValueError("while it tidied up") from None
            if ending == "is cancelled":
                raise

    runner = runner_of(work)
    attempt = opened(runner, view, "work")
    task = asyncio.create_task(runner.run(attempt))
    await begun.wait()
    attempt.tell_cancelled()
    assert await task == []


async def test_a_handlers_own_cancellation_is_passed_on(view: View) -> None:
    @activity
    async def work() -> None:
        raise asyncio.CancelledError

    runner = runner_of(work)
    with pytest.raises(asyncio.CancelledError):
        await runner.run(opened(runner, view, "work"))


async def test_a_plain_handler_looks_by_itself(view: View) -> None:
    loop = asyncio.get_running_loop()

    @activity
    def work() -> None:
        running = current()
        running.raise_if_cancelled()
        loop.call_soon_threadsafe(running.tell_cancelled)
        while not running.cancelled:
            pass
        with pytest.raises(Cancelled, match="attempt 2 of node"):
            running.raise_if_cancelled()

    runner = runner_of(work)
    assert await runner.run(opened(runner, view, "work")) == []


async def test_rescue_is_told_of_its_own_activity_and_the_hook_of_all(view: View) -> None:
    reports: list[Any] = []

    @activity(rescue=lambda attempt, error: reports.append(("rescue", attempt.name, error)))
    async def pay() -> None: ...

    @activity
    async def other() -> None: ...

    runner = runner_of(pay, other)

    async def hook(attempt: Activity, error: dict[str, Any]) -> None:
        reports.append(("all", attempt.name, error))
        raise ValueError("the hook's own error ends nothing")

    runner.error_hook = hook

    async def notify(name: str, message: str) -> None:
        record = ActivityRecord(view(name=name), ActivityKind.NOTIFICATION, name, message, b'{"message":"m"}')
        assert await runner.run(runner.open(record)) == []

    await notify("pay", "Client Error")
    await notify("pay", "Server Error")
    await notify("other", "Client Error")
    error = {"message": "m"}
    assert reports == [("rescue", "pay", error), ("all", "pay", error), ("all", "pay", error), ("all", "other", error)]


async def test_what_is_not_registered_says_what_is(view: View, caplog: pytest.LogCaptureFixture) -> None:
    @activity
    async def greet() -> None: ...

    runner = runner_of(greet)
    (answer,) = await runner.run(opened(runner, view, "gret"))
    (other,) = await runner.run(opened(runner, view, "Ship"))
    text = "no activity 'gret' is registered here; did you mean 'greet'? known: greet"
    assert text in answer.response.decode()
    assert "no activity 'Ship' is registered here; known: greet" in other.response.decode()
    # Nobody has tried it. Whoever looks at the worker sees it, too.
    assert (answer.attempted, other.attempted) == (False, False)
    assert text in caplog.messages[0]


async def test_a_failed_attempt_is_a_line_with_what_comes_next(view: View, caplog: pytest.LogCaptureFixture) -> None:
    @activity
    def pay() -> None:
        raise ValueError("later")

    @activity
    async def decline() -> None:
        raise DeclinedError("never")

    runner = runner_of(pay, decline)
    node_id = opened(runner, view, "pay").id
    for name, retries in (("pay", 4), ("pay", 1), ("pay", 0), ("decline", 4)):
        await runner.run(opened(runner, view, name, retries_remaining=retries))
    assert caplog.messages == [
        f"pay {node_id} failed in attempt 2 (4 retries left): ValueError: later",
        f"pay {node_id} failed in attempt 2 (1 retry left): ValueError: later",
        f"pay {node_id} failed in attempt 2 (no retry is left): ValueError: later",
        f"decline {node_id} failed in attempt 2 (it is not tried again): DeclinedError: never",
    ]
    # From the handler's own line on; a `Fail` is no surprise and needs none.
    raised = [record.exc_info for record in caplog.records]
    assert [info[2].tb_frame.f_code.co_name if info else None for info in raised] == ["pay", "pay", "pay", None]


async def test_exhausted_retries_without_a_hook_are_a_line_with_the_error(
    view: View, caplog: pytest.LogCaptureFixture
) -> None:
    runner = runner_of()

    async def notify(message: str, error: bytes) -> str:
        record = ActivityRecord(view(name="pay"), ActivityKind.NOTIFICATION, "pay", message, error)
        caplog.clear()
        await runner.run(runner.open(record))
        return caplog.messages[0]

    node_id = opened(runner, view, "pay").id
    assert await notify("Client Error", b'{"message":"ValueError: no"}') == (
        f"pay {node_id} is not tried again: ValueError: no. "
        f"What to do: mend the cause, then `backbeat node retry {node_id}`"
    )
    assert await notify("Server Error", b"{}") == f"pay {node_id}: Server Error: no reason was given"


async def test_the_first_attempt_has_no_error_before_it_and_a_signal_no_parent(view: View) -> None:
    runner = runner_of()
    attempt = opened(runner, view, "a", attempt=1)
    assert await attempt.previous_error() is None
    assert attempt.parent().result() is None


async def test_arguments_and_results_go_through_the_codec(view: View) -> None:
    codec = Fernet(Fernet.new_key())

    @activity
    async def pay(amount: int) -> dict[str, int]:
        running = current()
        running.add("Work", amount + 1)
        running.signal("Sale", 7, "Begin", args=[amount + 2])
        return {"paid": amount}

    @activity
    def plain(amount: int) -> int:
        return amount

    def packed(value: Any) -> bytes:
        return msgspec.json.encode({"params": codec.encode(value)})

    runner = runner_of(pay, plain)
    runner.packing = PayloadCodec(codec)
    record = ActivityRecord(view(name="pay", client_data=packed([703])), ActivityKind.ACTIVITY)
    signal, answer = await runner.run(runner.open(record))
    again, _ = await runner.run(runner.open(record))
    assert codec.decode(json.loads(answer.response)["result"]) == {"paid": 703}
    assert codec.decode(json.loads(answer.children[0].client_data)["params"]) == [704]
    assert codec.decode(json.loads(signal.node.client_data)["params"]) == [705]
    # The text is another each time; the signal is the same one.
    assert signal.node.client_data != again.node.client_data
    assert signal.id == again.id
    record = ActivityRecord(view(name="plain", client_data=packed({"amount": 7})), ActivityKind.ACTIVITY)
    (answer,) = await runner.run(runner.open(record))
    assert codec.decode(json.loads(answer.response)["result"]) == 7
    # A worker without the key says what is missing.
    runner.packing = PayloadCodec()
    (answer,) = await runner.run(runner.open(record))
    assert "CodecError: The arguments of node" in answer.response.decode()


async def test_a_large_payload_comes_from_and_goes_to_the_store(view: View, tmp_path: Path) -> None:
    store = f"file://{tmp_path}"

    @activity
    async def double(text: str) -> str:
        return text * 2

    runner = runner_of(double)
    runner.packing = packing = PayloadCodec(store=store, store_above_bytes=100)
    params = packing.pack("arguments", ["x" * 1_000])
    record = ActivityRecord(
        view(name="double", client_data=msgspec.json.encode({"params": params})), ActivityKind.ACTIVITY
    )
    (answer,) = await runner.run(runner.open(record))
    reference = json.loads(answer.response)["result"]
    assert reference["$backbeat"] == "stored"
    assert packing.unpack("result", reference) == "x" * 2_000


async def test_arguments_are_made_into_what_their_annotations_say(view: View) -> None:
    @dataclasses.dataclass
    class Order:
        number: int

    got: list[Any] = []

    @activity
    async def pack(order: Order) -> None:
        got.append(order)

    # Names of this function are not seen from outside of it.
    pack.function.__annotations__["order"] = Order
    runner = runner_of(pack)
    record = ActivityRecord(view(name="pack", client_data=b'{"params":[{"number":7}]}'), ActivityKind.ACTIVITY)
    await runner.run(runner.open(record))
    assert got == [Order(7)]
    record = ActivityRecord(view(name="pack", client_data=b'{"params":[{"number":"x"}]}'), ActivityKind.ACTIVITY)
    (answer,) = await runner.run(runner.open(record))
    assert "argument order of 'pack' is not what its annotation says" in answer.response.decode()
    assert not answer.retriable


# --- whatever a handler raises or returns is its node's error ---------------------------------------------------------


class OwnError(BaseException):
    """No Exception, as a test's or another loop's cancellation."""


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise SystemExit


def raise_error(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        OwnError("own"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseExceptionGroup("several", [OwnError("own")]),
        SpeechlessError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_exception_is_an_error_of_its_node(view: View, error: BaseException, *, is_async: bool) -> None:
    @activity("Boom")
    async def boom() -> None:
        raise error

    plain = activity("Boom")(lambda: raise_error(error))
    runner = runner_of(boom if is_async else plain)
    (answer,) = await runner.run(opened(runner, view, "Boom"))
    assert (answer.status, answer.retriable) == ("errored", True)
    assert json.loads(answer.response)["error"]["message"].startswith(type(error).__name__)


async def test_a_handler_of_a_loop_that_was_closed_has_not_failed(view: View) -> None:
    @activity
    async def work() -> None:
        await asyncio.Event().wait()

    runner = runner_of(work)
    answers: list[Any] = []

    async def run() -> None:
        answers.append(await runner.run(opened(runner, view, "work")))

    loop = asyncio.new_event_loop()
    # As a program that leaves its loop behind: nobody cancels what runs there.
    coroutine = run()
    task = await asyncio.to_thread(run_a_little, loop, coroutine)
    task._log_destroy_pending = False
    coroutine.close()
    assert answers == []


def run_a_little(loop: asyncio.AbstractEventLoop, coroutine: Any) -> asyncio.Task[None]:
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    return task


itself: list[Any] = []
itself.append(itself)
deep: list[Any] = []
for _ in range(3_000):
    deep = [deep]


class Model:
    """A model whose own code fails while it is written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def model_dump(self, mode: str) -> Any:
        raise self.error


UNWRITABLE = {
    "itself": itself,
    "deep": deep,
    "key": Model(KeyError("a property that fails")),
    "changed": Model(RuntimeError("dictionary changed size during iteration")),
    "gone": Model(AttributeError("no such attribute")),
    "exit": Model(SystemExit()),
    "tuple": {(1, 2): 3},
    "none": {None: 1},
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("packing", ["plain", "codec", "store"])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("value", UNWRITABLE.values(), ids=UNWRITABLE)
async def test_a_result_that_cannot_be_written_is_an_error_of_its_node(
    view: View, tmp_path: Path, value: Any, packing: str, *, is_async: bool
) -> None:
    @activity("Give")
    async def give() -> Any:
        return value

    runner = runner_of(give if is_async else activity("Give")(lambda: value))
    if packing != "plain":
        codec = Fernet(Fernet.new_key()) if packing == "codec" else None
        runner.packing = PayloadCodec(codec, tmp_path.as_uri() if packing == "store" else None)
    (answer,) = await runner.run(opened(runner, view, "Give"))
    assert answer.status == "errored"
    assert json.loads(answer.response)["error"]["message"]


class Broken:
    """A codec and a store that fail as they like."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode(self, value: Any) -> Any:
        raise self.error

    def decode(self, value: Any) -> Any:
        return value

    def put(self, digest: str, text: bytes) -> str:
        raise self.error

    def get(self, digest: str) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [KeyError("x"), OwnError("x"), SystemExit(1), RecursionError()], ids=repr)
@pytest.mark.parametrize("part", ["codec", "store"])
async def test_a_codec_or_store_that_fails_is_an_error_of_the_node(view: View, error: BaseException, part: str) -> None:
    broken = Broken(error)
    for is_async in (True, False):

        @activity("Give")
        async def give() -> Any:
            return "x" * 100

        runner = runner_of(give if is_async else activity("Give")(lambda: "x" * 100))
        runner.packing = PayloadCodec(
            broken if part == "codec" else None, broken if part == "store" else None, store_above_bytes=10
        )
        (answer,) = await runner.run(opened(runner, view, "Give"))
        assert answer.status == "errored"
        stored = b'{"params":{"$backbeat":"stored","url":"s","sha256":"%s","bytes":1}}' % (b"0" * 64)
        if part == "store":
            record = ActivityRecord(view(name="Give", client_data=stored), ActivityKind.ACTIVITY)
            (answer,) = await runner.run(runner.open(record))
            assert answer.status == "errored"


@pytest.mark.parametrize(
    "error", [OwnError("own"), SystemExit(1), asyncio.CancelledError(), ValueError("no")], ids=repr
)
async def test_a_rescue_may_raise_what_it_likes(
    view: View, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def rescue(_: Activity, __: dict[str, Any]) -> None:
        raise error

    reports: list[str] = []
    for hook in (rescue, lambda *_: raise_error(error)):
        runner = runner_of(activity("Pay", rescue=hook)(lambda: None))
        runner.error_hook = lambda attempt, _: reports.append(attempt.name)
        assert await runner.run(notification(runner, view)) == []
    assert reports == ["Pay", "Pay"]
    assert caplog.text.count("the error hook failed on Pay") == 2


async def test_a_rescue_is_run_again_and_the_hook_for_all_is_not(view: View) -> None:
    reports: list[str] = []

    def rescue(_: Activity, __: dict[str, Any]) -> None:
        reports.append("rescue")
        if reports.count("rescue") < 3:
            raise OwnError("down")

    runner = runner_of(activity("Pay", rescue=rescue)(lambda: None))
    runner.error_hook = lambda *_: reports.append("all")
    notice = notification(runner, view)
    assert [await runner.notify(notice), await runner.notify(notice, again=True)] == [False, False]
    assert await runner.notify(notice, again=True)
    assert reports == ["rescue", "all", "rescue", "rescue"]


@pytest.mark.parametrize(
    "act",
    [
        lambda: current().add("Next"),
        lambda: current().spread("Next", [1]),
        lambda: current().signal("Sale", "A", "Next"),
        lambda: current().continue_as(),
        lambda: current().give_up(),
    ],
)
async def test_nothing_is_added_or_signalled_where_a_failure_is_told(view: View, act: Any) -> None:
    raised: list[str] = []

    def rescue(_: Activity, __: dict[str, Any]) -> None:
        try:
            act()
        except BackbeatError as error:
            raised.append(str(error))

    runner = runner_of(activity("Pay", rescue=rescue)(lambda: None))
    await runner.notify(notification(runner, view))
    assert "'Pay' has ended, and this is told of it: nothing can be added or signalled here" in raised[0]


async def test_what_a_rescue_gives_is_awaited(view: View) -> None:
    reports: list[str] = []

    async def tell(attempt: Activity, error: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        reports.append(f"{attempt.name}: {error['message']}")

    class Rescue:
        async def __call__(self, attempt: Activity, error: dict[str, Any]) -> None:
            await tell(attempt, error)

    for hook in (lambda attempt, error: tell(attempt, dict(error)), Rescue()):
        runner = runner_of(activity("Pay", rescue=hook)(lambda: None))
        await runner.run(notification(runner, view))
    assert reports == ["Pay: declined"] * 2


def notification(runner: Runner, view: View) -> Activity:
    return runner.open(
        ActivityRecord(
            view(name="Pay"), ActivityKind.NOTIFICATION, "Client Error", "Client Error", b'{"message":"declined"}'
        )
    )


async def test_a_canceled_plain_handler_below_middleware_keeps_its_slot_until_it_has_returned(view: View) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    @activity
    def hold() -> None:
        begun.set()
        goes_on.wait()

    async def around(call: Call, call_next: CallNext) -> Any:
        return await call_next(call)

    runner = runner_of(hold)
    runner.middleware = (around,)
    runner.in_thread = asyncio.to_thread
    held = opened(runner, view, "hold")
    task = asyncio.create_task(runner.run(held))
    await until_async(begun.is_set)
    held.tell_cancelled()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    goes_on.set()
    assert await task == []
