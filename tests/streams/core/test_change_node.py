"""ChangeNode: what a client says of its node, one word after another."""

import msgspec
import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.values import Backoff
from backbeat.streams.core import retry
from backbeat.streams.core.effects import Dispatch, Ignored, Notify
from backbeat.streams.core.records import Node
from tests.streams.core.rig import BLOCKING, FORGET, NON_BLOCKING, Rig, flag, new, running
from tests.streams.core.world import OTHER, USER

ALL_WORDS = [
    "processing", "deciding", "completed", "deciding_complete", "errored", "resolved", "shutdown", "deactivated",
    "canceled",
]  # fmt: skip


# --- who, what, which attempt ----------------------------------------------------------------------------------------


def test_another_users_node_is_not_found_and_that_comes_before_an_unknown_word():
    rig = running()
    assert rig.ask(c.ChangeNode, node_id=b"x" * 16, status="nonsense").reply.reason is Reason.NOT_FOUND
    assert rig.say("completed", "signal", user_id=OTHER).reply.reason is Reason.NOT_FOUND
    assert rig.say("nonsense", "signal").reply.reason is Reason.UNKNOWN_STATUS
    assert rig.say("nonsense", "signal").reply.message == "Unknown status change nonsense"


def test_a_node_belongs_to_the_user_it_was_given_to():
    rig = running(new("a", user_id=OTHER))
    assert rig.complete("a").reply.reason is Reason.NOT_FOUND
    assert rig.complete("a", user_id=OTHER).reply == Done()
    assert rig.server("signal") == ["complete"]


@pytest.mark.parametrize("word", ALL_WORDS)
def test_no_word_does_anything_to_a_deactivated_node(word):
    rig = running(new("a"))
    rig.say("canceled", "a")
    before = rig.snapshot()
    assert rig.say(word, "a").reply == Done(changed=False)
    assert rig.snapshot() == before
    assert rig.say("nonsense", "a").reply.reason is Reason.UNKNOWN_STATUS


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_result_of_another_attempt_changes_nothing(attempt):
    rig = running(new("a"))
    before = rig.snapshot()
    happened = rig.complete("a", new("b"), attempt=attempt)
    assert happened.of(Ignored)
    assert happened.reply == Done(changed=False)
    assert rig.snapshot() == before


def test_a_result_is_taken_once():
    rig = running(new("a"), new("b"))
    assert rig.complete("a", attempt=1).dispatched == ["b"]
    before = rig.snapshot()
    for word in ("completed", "errored", "processing"):
        assert rig.say(word, "a", new("late"), attempt=1).of(Ignored)
    assert rig.snapshot() == before


def test_the_attempt_is_raised_at_every_start():
    rig = running(new("a"))
    rig.error("a", attempt=1)
    assert rig.due("a").dispatches == [(rig["a"], 2)]
    assert rig.complete("a", attempt=1).of(Ignored)
    assert rig.complete("a", attempt=2).reply == Done()


# --- which change is allowed (sections 3 and 8) ----------------------------------------------------------------------


def at(state: str) -> Rig:
    """A node called x in a state, among siblings."""
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("x", NON_BLOCKING, retries=1 if state == "retrying" else 0), new("y"))
    if state != "pending":
        rig.complete("signal")
    match state:
        case "pending" | "received":
            pass
        case "processing":
            rig.say("processing", "x")
        case "processing_children":
            rig.complete("x", new("z"))
        case "complete":
            rig.complete("x")
        case "failed":
            rig.fail("x")
        case _:
            rig.error("x")
            if state in ("resolved", "shutdown"):
                rig.say(state, "x", new("z"))
    return rig


CLIENT, SERVER = Reason.INVALID_CLIENT_STATUS, Reason.INVALID_SERVER_STATUS


@pytest.mark.parametrize(("state", "word", "reason", "found", "wanted"), [
    ("pending", "processing", CLIENT, "pending", "processing"),
    ("pending", "completed", CLIENT, "pending", "complete"),
    ("pending", "errored", SERVER, "pending", "retries_exhausted"),
    ("pending", "resolved", CLIENT, "pending", "resolved"),
    ("received", "resolved", CLIENT, "received", "resolved"),
    ("received", "shutdown", CLIENT, "received", "shutdown"),
    ("processing", "processing", CLIENT, "processing", "processing"),
    ("processing", "shutdown", CLIENT, "processing", "shutdown"),
    ("processing_children", "processing", CLIENT, "complete", "processing"),
    ("processing_children", "completed", SERVER, "processing_children", "processing_children"),
    ("processing_children", "errored", CLIENT, "complete", "errored"),
    ("complete", "completed", SERVER, "complete", "processing_children"),
    ("complete", "errored", CLIENT, "complete", "errored"),
    ("retrying", "processing", CLIENT, "errored", "processing"),
    ("retrying", "completed", CLIENT, "errored", "complete"),
    ("retrying", "errored", SERVER, "retrying", "retries_exhausted"),
    ("retrying", "resolved", SERVER, "retrying", "processing_children"),
    ("retrying", "shutdown", SERVER, "retrying", "processing_children"),
    ("exhausted", "errored", SERVER, "retries_exhausted", "retries_exhausted"),
    ("exhausted", "completed", CLIENT, "errored", "complete"),
    ("resolved", "completed", CLIENT, "resolved", "complete"),
    ("resolved", "resolved", CLIENT, "resolved", "resolved"),
    ("shutdown", "errored", CLIENT, "shutdown", "errored"),
    ("failed", "completed", SERVER, "errored", "processing_children"),
    ("failed", "errored", SERVER, "errored", "retries_exhausted"),
])  # fmt: skip
def test_what_is_not_allowed_is_refused_whole(state, word, reason, found, wanted):
    rig = at(state)
    before = rig.snapshot()
    refused = rig.say(word, "x", response=b"{}").reply
    assert (refused.reason, refused.found, refused.wanted) == (reason, found, wanted)
    which = "client" if reason is CLIENT else "server"
    assert refused.message == f"Cannot transition current_{which}_status from {found} to {wanted}"
    assert rig.snapshot() == before
    if state != "complete":
        assert rig.say(word, "x", new("child")).reply.reason is reason
        assert rig.snapshot() == before


@pytest.mark.parametrize(
    "state", ["pending", "received", "processing", "processing_children", "complete", "retrying", "exhausted", "failed"]
)
def test_cancel_and_deactivate_previous_are_allowed_in_every_state(state):
    assert at(state).say("canceled", "x").reply == Done()
    rig = at(state)
    before = (rig.both("x"), rig.said("x"), rig.clock("x"))
    assert rig.say("deactivated", "x").reply == Done()
    assert (rig.both("x"), rig.said("x"), rig.clock("x")) == before


# --- processing and complete_by --------------------------------------------------------------------------------------


def test_processing_stops_the_clock():
    rig = running(new("a"))
    assert rig.clock("a")[0] == "expiry"
    assert rig.say("deciding", "a").reply == Done()
    assert rig.both("a") == ("sent_to_client", "processing")
    assert rig.clock("a") is None
    assert rig.last("a") == ["client received processing"]


@pytest.mark.parametrize(("client_data", "seconds"), [
    (b"{}", 172_800), (b'{"timeout":5}', 5), (b'{"timeout":0}', 0), (b'{"timeout":"2.5"}', 2.5),
    (b'{"timeout":null}', None),
])  # fmt: skip
def test_complete_by_is_the_timeout_from_now(client_data, seconds):
    rig = running(new("a", client_data=client_data))
    assert rig.clock("a") == (None if seconds is None else ("expiry", 1_000_000 + int(seconds * 1000)))
    rig.now += 777
    rig.say("completed", "signal")  # refused: renews nothing
    rig.say("deactivated", "a")
    assert rig.clock("a") == (None if seconds is None else ("expiry", 1_000_777 + int(seconds * 1000)))


def test_a_refused_change_does_not_renew_it():
    rig = running(new("a"))
    clock = rig.clock("a")
    rig.now += 777
    rig.say("resolved", "a")
    assert rig.clock("a") == clock


def test_the_default_timeout_is_a_setting():
    rig = running(new("a"), settings=Settings(default_timeout_seconds=3.0))
    assert rig.clock("a") == ("expiry", 1_003_000)


# --- completed -------------------------------------------------------------------------------------------------------


def test_children_start_when_the_parents_client_has_completed():
    rig = Rig()
    rig.signal("signal")
    assert rig.add("signal", new("a"), new("b")).dispatched == []
    assert rig.both("a") == ("pending", "pending")
    assert rig.complete("signal", new("c")).dispatched == ["a"]
    assert rig.said("b") == ["server pending ready", "client pending ready"]
    assert rig.both("signal") == ("processing_children", "complete")
    assert rig.last("signal", 2) == ["client received complete", "server sent_to_client processing_children"]
    assert rig.complete("a").dispatched == ["b"]
    assert rig.complete("b").dispatched == ["c"]
    rig.complete("c")
    assert rig.server("signal") == ["complete"]


def test_the_response_stands_on_both_entries():
    rig = running(new("a"))
    rig.complete("a", response=b'{"result":1}')
    assert [entry[4] for entry in rig.history(rig["a"])][-3:] == [b'{"result":1}', b'{"result":1}', None]


def test_responses_of_other_words_are_dropped_or_kept_as_the_rules_say():
    rig = running(new("a", retries=0), new("b"))
    rig.say("processing", "a", response=b"[1]")
    rig.say("errored", "a", response=b"[2]")
    rig.say("deactivated", "a", response=b"[3]")
    rig.say("resolved", "a", response=b"[4]")
    rig.say("canceled", "b", response=b"[5]")
    assert [entry[4] for entry in rig.history(rig["a"])] == [*[None] * 6, b"[2]", None, b"[4]", b"[4]", None]
    assert {entry[4] for entry in rig.history(rig["b"])} == {None}


@pytest.mark.parametrize(("modes", "order"), [
    ([BLOCKING, BLOCKING, BLOCKING], [["a"], ["b"], ["c"]]),
    ([NON_BLOCKING, NON_BLOCKING, BLOCKING], [["a", "b", "c"], [], []]),
    ([NON_BLOCKING, BLOCKING, BLOCKING], [["a", "b"], [], ["c"]]),
    ([FORGET, BLOCKING, NON_BLOCKING], [["a", "b"], [], ["c"]]),
])  # fmt: skip
def test_later_siblings_wait_for_blocking_ones(modes, order):
    rig = Rig()
    rig.signal("signal")
    children = [new(name, mode) for name, mode in zip("abc", modes, strict=True)]
    started = [rig.complete("signal", *children).dispatched]
    started += [rig.complete(name).dispatched for name in "ab"]
    assert started == order


def test_nobody_waits_for_a_fire_and_forget_child():
    rig = running(new("a", FORGET), new("b"))
    rig.complete("b")
    assert rig.server("a", "signal") == ["sent_to_client", "complete"]
    assert rig.complete("a", new("below")).dispatched == ["below"]
    rig.complete("below")
    assert rig.server("a", "signal") == ["complete", "complete"]


def test_a_flag_completes_by_itself():
    rig = running(flag("a"), new("b"))
    assert rig.said("a") == [
        "server pending ready", "client pending ready", "server ready started", "server started sent_to_client",
        "client ready received", "client received complete", "server sent_to_client processing_children",
        "server processing_children complete",
    ]  # fmt: skip
    assert rig.server("b") == ["sent_to_client"]


def test_children_of_children_complete_upwards():
    rig = running(new("a"))
    rig.complete("a", new("b"))
    rig.complete("b", new("c"))
    assert rig.server("signal", "a", "b") == ["processing_children"] * 3
    rig.complete("c")
    assert rig.server("signal", "a", "b", "c") == ["complete"] * 4


def test_the_children_of_a_repeated_result_are_made_once():
    rig = Rig()
    rig.signal("signal")
    rig.complete("signal", new("a"), id=b"1" * 16, attempt=1)
    before = rig.snapshot()
    assert rig.complete("signal", new("a"), id=b"1" * 16, attempt=1).dispatched == []
    assert rig.snapshot() == before
    assert rig.complete("signal", new("a"), id=b"1" * 16).reply == Done(changed=False)
    assert rig.snapshot() == before


# --- errored ---------------------------------------------------------------------------------------------------------


def test_a_backoff_begins_with_the_interval_and_ends_at_the_longest_wait():
    rig = running(new("a", retries=5, retry_interval_seconds=60.0, backoff=Backoff(2.0, 400.0, 0.2)))
    for attempt, seconds in enumerate([60, 120, 240, 400, 400], start=1):
        rig.error("a")
        delay = rig.row("a").fires_at - rig.now
        assert delay == int(seconds * 1000.0 * retry.jitter(rig["a"], attempt, 0.2))
        rig.due("a")
    assert rig.row("a").retries_remaining == 0


def test_a_worker_says_how_long_one_wait_is():
    rig = running(new("a", retries=3, retry_interval_seconds=60.0, backoff=Backoff(2.0, 3600.0, 0.0)))
    waits = []
    for after in (1.5, None, 0.0):
        rig.error("a", retry_after_seconds=after)
        waits.append(rig.row("a").fires_at - rig.now)
        rig.due("a")
    assert waits == [1_500, 120_000, 0]
    assert rig.row("a").retries_remaining == 0


def test_what_no_worker_knows_goes_to_another_one_and_no_retry_is_spent():
    rig = running(new("a", retries=0))
    keys = []
    for number in range(1, 65):
        rig.error("a", attempted=False)
        assert (rig.both("a"), rig.row("a").retries_remaining) == (("retrying", "errored"), 0)
        wait = rig.row("a").fires_at - rig.now
        assert wait == int(min(2.0 ** (number - 1), 60.0) * 1000.0 * retry.jitter(rig["a"], number, 0.2))
        (dispatch,) = rig.due("a").of(Dispatch)
        keys.append(dispatch.key)
    assert len(set(keys)) == 64, "each goes to a partition of its own, and so to another worker"
    # An hour has passed: nobody will come who knows it.
    assert len(rig.error("a", attempted=False).of(Notify)) == 1
    assert rig.both("a") == ("retries_exhausted", "errored")
    rig.restart("a")
    rig.error("a", attempted=False)
    assert rig.both("a") == ("retrying", "errored")


def test_a_wait_below_zero_changes_nothing():
    rig = running(new("a", retries=3))
    before = rig.snapshot()
    refusal = rig.error("a", retry_after_seconds=-1.0).reply
    assert refusal.reason == "invalid_parameters"
    assert "retry_after_seconds is -1" in refusal.message
    assert rig.snapshot() == before


def test_a_record_of_before_backoffs_waits_as_it_did():
    packed = msgspec.msgpack.encode(running(new("a", retries=1)).row("a"))
    old = msgspec.msgpack.decode(packed)[: Node.__struct_fields__.index("backoff")]
    row = msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Node)
    assert (row.backoff, row.retries) == (None, 0)
    assert retry.wait_ms(row, None) == retry.delay_ms(row.id, row.attempt, 1200.0, 1)


def test_an_error_is_retried_later_and_later():
    rig = running(new("a", retries=7, retry_interval_seconds=10.0))
    expected = []
    for attempt, left in enumerate([6, 5, 4, 3, 2, 1, 0], start=1):
        happened = rig.error("a")
        assert happened.of(Notify) == []
        assert rig.row("a").retries_remaining == left
        delay = rig.row("a").fires_at - rig.now
        assert delay == retry.delay_ms(rig["a"], attempt, 10.0, left)
        expected.append(2 ** max(0, 6 - left) * 10_000)
        assert 0.8 * expected[-1] <= delay <= 1.2 * expected[-1]
        assert rig.clock("a") == ("retry", rig.row("a").fires_at)
        assert rig.both("a") == ("retrying", "errored")
        assert rig.due("a").dispatches == [(rig["a"], attempt + 1)]
    assert expected == [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000]
    assert rig.error("a").of(Notify)
    assert rig.both("a") == ("retries_exhausted", "errored")
    assert rig.clock("a") is None


def test_the_order_of_the_entries_of_a_retry():
    rig = running(new("a"))
    rig.error("a", response=b"[1]")
    rig.due("a")
    assert rig.last("a", 7) == [
        "client received errored", "server sent_to_client retrying", "client errored ready", "server retrying ready",
        "server ready started", "server started sent_to_client", "client ready received",
    ]  # fmt: skip
    assert [entry[4] for entry in rig.history(rig["a"])][-7:] == [b"[1]", *[None] * 6]


@pytest.mark.parametrize(("response", "error"), [
    (b'{"error":{"message":"m","code":5}}', b'{"message":"m","code":5}'),
    (b'{"error":"just \\"text\\""}', b'{"message":"just \\"text\\""}'),
    (b'{"error":null}', b"{}"), (b'{"error":7}', b"{}"), (b'{"error":["a"]}', b"{}"), (b'{"error":true}', b"{}"),
    (b'{"result":"no error"}', b"{}"), (b"[1]", b"{}"), (b'"text"', b"{}"), (b"null", b"{}"),
    (None, b"{}"),
    (b'{"error": {"a":1} }', b'{"a":1}'),
])  # fmt: skip
def test_what_the_notification_says_of_different_errors(response, error):
    rig = running(new("a", retries=0))
    (notification,) = rig.error("a", response=response).of(Notify)
    assert (notification.node.id, notification.name, notification.message) == (rig["a"], "a", "Client Error")
    assert notification.error.strip() == error
    assert (notification.node.server.name, notification.node.client.name) == ("RETRIES_EXHAUSTED", "ERRORED")


def test_children_of_a_failed_attempt_are_dropped_by_the_retry():
    rig = running(new("a"), new("b"))
    rig.error("a")
    rig.add("a", new("x"))
    assert rig.server("x") == ["pending"]
    rig.due("a")
    assert rig.server("x", "a", "b") == ["deactivated", "sent_to_client", "ready"]
    assert rig.complete("a", new("y")).dispatched == ["y"]
    assert rig.complete("y").dispatched == ["b"]


def test_siblings_wait_for_an_exhausted_node():
    rig = running(new("a", retries=0), new("b"))
    assert rig.error("a").dispatched == []
    assert rig.server("a", "b") == ["retries_exhausted", "ready"]


# --- resolved, shutdown ----------------------------------------------------------------------------------------------


def test_resolved_counts_as_complete():
    rig = running(new("a", retries=0), new("b"))
    rig.say("errored", "a", new("x"))
    assert rig.say("resolved", "a", response=b"[1]").dispatched == ["x"]
    assert rig.both("a") == ("processing_children", "resolved")
    assert rig.last("a", 2) == ["client errored resolved", "server retries_exhausted processing_children"]
    assert [entry[4] for entry in rig.history(rig["a"])][-2:] == [b"[1]", b"[1]"]
    assert rig.complete("x").dispatched == ["b"]
    assert rig.both("a") == ("complete", "resolved")


def test_shutdown_of_a_blocking_node_deactivates_its_later_siblings():
    rig = running(new("before", NON_BLOCKING), new("a", retries=0), new("b"), new("c", FORGET), new("d"))
    rig.error("a")
    assert rig.say("shutdown", "a", response=b"[1]").dispatched == []
    assert rig.server("before", "a", "b", "c", "d") == ["sent_to_client", "complete", *["deactivated"] * 3]
    assert rig.last("a", 3) == [
        "client errored shutdown", "server retries_exhausted processing_children",
        "server processing_children complete",
    ]  # fmt: skip
    assert rig.last("b") == ["server ready deactivated"]
    assert rig.server("signal") == ["processing_children"]
    rig.complete("before")
    assert rig.server("signal") == ["complete"]


def test_shutdown_touches_the_siblings_themselves_not_what_is_below():
    rig = Rig()
    rig.signal("one", retries=0)
    rig.signal("two")
    rig.add("two", new("below"))
    rig.error("one")
    rig.say("shutdown", "one")
    assert rig.server("one", "two", "below") == ["complete", "deactivated", "pending"]
    assert rig.signal("three").dispatched == ["three"]


def test_shutdown_of_another_mode_leaves_the_siblings():
    rig = running(new("a", NON_BLOCKING, retries=0), new("b"))
    rig.error("a")
    rig.say("shutdown", "a")
    assert rig.server("a", "b") == ["complete", "sent_to_client"]


def test_shutdown_makes_the_nodes_own_children_ready():
    rig = running(new("a", retries=0), new("b"))
    rig.say("errored", "a", new("x"))
    assert rig.say("shutdown", "a").dispatched == ["x"]
    assert rig.server("a", "b") == ["processing_children", "deactivated"]
    rig.complete("x")
    assert rig.server("signal") == ["complete"]


def test_shutdown_leaves_deactivated_siblings_without_another_entry():
    rig = running(new("a", retries=0), new("b"), new("c"))
    rig.say("canceled", "b")
    rig.error("a")
    rig.say("shutdown", "a")
    assert rig.said("b").count("server deactivated deactivated") == 0
    assert rig.last("b") == ["server ready deactivated"]


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3, 250])
def test_shutdown_in_slices(slice_nodes_max):
    rig = running(
        new("a", retries=0), *(new(f"n{n}") for n in range(7)), settings=Settings(slice_nodes_max=slice_nodes_max)
    )
    rig.error("a")
    assert rig.say("shutdown", "a").dispatched == []
    assert rig.server("a", "signal", *(f"n{n}" for n in range(7))) == ["complete", "complete", *["deactivated"] * 7]


# --- deactivated, canceled -------------------------------------------------------------------------------------------


def test_deactivate_previous_hits_every_older_node_across_parents():
    rig = Rig()
    rig.signal("one")
    rig.complete("one", new("a"), new("b"))
    rig.complete("a")
    rig.signal("two")
    rig.signal("three")
    assert rig.say("deactivated", "two").dispatched == []
    assert rig.server("one", "a", "b", "two", "three") == [*["deactivated"] * 3, "ready", "ready"]
    assert rig.last("a") == ["server complete deactivated"]
    assert rig.signal("four").dispatched == ["two"]
    assert rig.complete("b").reply == Done(changed=False)
    assert rig.complete("two").dispatched == ["three"]


def test_deactivate_previous_by_a_child_deactivates_its_ancestors():
    rig = running(new("a"), new("b"))
    rig.complete("a")
    rig.say("deactivated", "b")
    assert rig.server("signal", "a", "b") == ["deactivated", "deactivated", "sent_to_client"]
    assert rig.complete("b", new("x")).dispatched == ["x"]
    rig.complete("x")
    assert rig.server("b", "signal") == ["complete", "deactivated"]


def test_deactivate_previous_leaves_an_entry_each_time():
    rig = running(new("a"), new("b"), new("c"))
    rig.say("deactivated", "b")
    rig.say("deactivated", "b")
    rig.say("deactivated", "c")
    assert rig.last("a", 3) == ["server sent_to_client deactivated", *["server deactivated deactivated"] * 2]
    assert rig.last("b") == ["server ready deactivated"]


def test_cancel_takes_what_is_below_and_lets_the_siblings_go_on():
    rig = running(new("a"), new("b"))
    rig.complete("a", new("x"), new("y"))
    rig.complete("x", new("deep"))
    rig.complete("deep")
    assert rig.say("canceled", "a").dispatched == ["b"]
    assert rig.server("a", "x", "y", "deep") == ["deactivated"] * 4
    assert rig.last("deep") == ["server complete deactivated"]
    rig.complete("b")
    assert rig.server("signal") == ["complete"]


def test_cancel_of_a_complete_node_is_an_entry_and_nothing_else():
    rig = running(new("a"), new("b"))
    rig.complete("a")
    assert rig.say("canceled", "a").dispatched == []
    assert rig.last("a") == ["server complete deactivated"]
    rig.complete("b")
    assert rig.server("signal") == ["complete"]


def test_cancel_and_schedule_among_pending_children():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("a"), new("b"), new("c"))
    assert rig.schedule("signal").dispatched == []
    rig.say("canceled", "a")
    rig.say("canceled", "c")
    assert rig.schedule("signal").dispatched == []
    assert rig.server("signal", "a", "b", "c") == ["sent_to_client", "deactivated", "pending", "deactivated"]
    assert rig.complete("signal").dispatched == ["b"]
    rig.complete("b")
    assert rig.server("signal") == ["complete"]


def test_the_only_child_canceled_while_the_client_still_runs():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("a"))
    rig.say("canceled", "a")
    assert rig.both("signal") == ("sent_to_client", "received")
    rig.complete("signal")
    assert rig.server("signal") == ["complete"]


def test_cancel_drops_a_waiting_retry_or_start():
    rig = running(new("a", NON_BLOCKING), new("b", NON_BLOCKING, fires_at=2_000_000))
    rig.error("a")
    for name in "ab":
        command = rig.fired(rig[name])
        rig.say("canceled", name)
        assert rig.clock(name) is None
        assert rig.do(command).of(Ignored)
    assert rig.server("signal") == ["complete"]


# --- children with a status: all or none -----------------------------------------------------------------------------


def test_a_refused_child_refuses_the_status_and_the_other_way_round():
    rig = running(new("a"))
    before = rig.snapshot()
    assert rig.complete("a", new("x"), new("")).reply.reason is Reason.INVALID_PARAMETERS
    assert rig.say("resolved", "a", new("x")).reply.reason is Reason.INVALID_CLIENT_STATUS
    assert rig.snapshot() == before


def test_a_word_on_a_deactivated_node_still_makes_its_children():
    rig = running(new("a"))
    rig.say("canceled", "a")
    assert rig.complete("a", new("x")).reply == Done(changed=False)
    assert rig.both("x") == ("deactivated", "pending")


def test_a_large_response_is_refused():
    rig = running(new("a"), settings=Settings(payload_bytes_max=10))
    refused = rig.complete("a", response=b'"123456789"').reply
    assert (refused.reason, refused.wanted) == (Reason.LIMIT_EXCEEDED, "payload_bytes_max 10")
    assert rig.complete("a", response=b'"12345678"').reply == Done()


def test_a_user_of_the_system_may_touch_anybodys_nodes():
    rig = running(new("a", user_id=OTHER))
    assert rig.complete("a", user_id=None).reply == Done()
    assert USER != OTHER


def test_below_a_deactivated_parent_nothing_more_starts():
    rig = running(new("a"))
    rig.complete("a", new("x"), new("y"))
    rig.say("deactivated", "x")  # its ancestors are older
    assert rig.server("signal", "a", "x", "y") == ["deactivated", "deactivated", "sent_to_client", "ready"]
    assert rig.complete("x").dispatched == []
    assert rig.server("x", "y") == ["complete", "ready"]


@pytest.mark.parametrize("call", ["say", "add"])
def test_no_children_at_all_schedule_nothing(call):
    rig = running(new("a"))
    rig.complete("a", new("x"))
    rig.reset("a")
    rig.say("deactivated", "a") if call == "say" else rig.add("a")
    assert rig.server("a") == ["processing_children"]
    rig.schedule("a")
    assert rig.server("a") == ["complete"]


# --- errors that another attempt would not mend ----------------------------------------------------------------------


def test_an_error_that_is_not_retriable_exhausts_the_retries():
    rig = running(new("a", retries=3), new("b"))
    happened = rig.error("a", retriable=False, attempt=1)
    assert rig.both("a") == ("retries_exhausted", "errored")
    assert [notification.message for notification in happened.of(Notify)] == ["Client Error"]
    assert rig.clock("a") is None
    assert rig.server("b") == ["ready"]


def test_what_it_had_left_is_there_when_an_operator_restarts_it():
    rig = running(new("a", retries=3))
    rig.error("a", retriable=False)
    assert rig.restart("a").dispatches == [(rig["a"], 2)]
    rig.error("a")
    assert rig.server("a") == ["retrying"]
    assert rig.row("a").retries_remaining == 2


def test_only_an_error_reads_it():
    rig = running(new("a"))
    assert rig.complete("a", retriable=False).reply == Done()
    assert rig.server("a") == ["complete"]
