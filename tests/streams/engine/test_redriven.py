"""The engine's own commands that became dead letters and are sent in again: by their source they would be repeats."""

from __future__ import annotations

from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.dead_letters import REDRIVEN_FROM
from backbeat.schemas.messages import commands as c
from backbeat.streams.core import apply
from backbeat.streams.core.effects import Ignored
from tests.streams.engine.test_poison import Poisoned

TARGET, CHILD = b"t" * 16, b"c" * 16


class Redriven(Poisoned):
    """A partition whose rules fail at the next command, where they are told to, and what became of each command."""

    def __init__(self) -> None:
        super().__init__()
        self.is_broken = False
        self.ignored: list[bool] = []
        self.engine._rules = self._rules
        self.signal()
        self.ignored.clear()

    def _rules(self, command, now, store):
        if self.is_broken:
            self.is_broken = False
            raise LookupError
        effects = apply(command, now, store)
        self.ignored.append(any(effect == Ignored("an engine command that was already taken") for effect in effects))
        return effects

    def close(self, index: int, *, redriven_from: int | None = None) -> int:
        """CloseLink, as an effect of the first command; its offset."""
        command = c.CloseLink(id=b"f" * 16, target_id=TARGET, child_id=CHILD, source=c.Source(0, 0, index))
        offset = self.store.meta.next_offset
        self.topics.append(encode_command(command), 0, None)
        if redriven_from is not None:
            headers = [(REDRIVEN_FROM, str(redriven_from).encode())]
            self.topics.commands[0][-1] = self.topics.commands[0][-1]._replace(headers=headers)
        self._memory.settle()
        return offset


def test_a_command_that_failed_is_taken_when_it_is_sent_in_again_and_only_once():
    loop = Redriven()
    loop.is_broken = True
    first = loop.close(0)
    assert "defect: LookupError" in loop.reason
    loop.close(1)
    loop.close(0)
    assert loop.ignored == [False, True], "by its source it is a repeat"
    loop.ignored.clear()
    loop.close(0, redriven_from=first)
    loop.close(0, redriven_from=first)
    assert loop.ignored == [False, True]
    assert loop.store.meta.put_aside == {}
    assert loop.goes_on()


def test_a_command_that_fails_again_may_come_a_third_time():
    loop = Redriven()
    loop.is_broken = True
    first = loop.close(0)
    loop.close(1)
    loop.is_broken = True
    second = loop.close(0, redriven_from=first)
    loop.ignored.clear()
    loop.close(0, redriven_from=first)
    loop.close(0, redriven_from=second)
    assert loop.ignored == [True, False]


def test_what_could_not_be_read_may_have_been_such_a_command():
    """As after an upgrade that skipped a release: the engine knows the record now."""
    loop = Redriven()
    offset = loop.store.meta.next_offset
    loop.put(b"of a newer release")
    loop.close(1)
    loop.ignored.clear()
    loop.close(0, redriven_from=offset)
    assert loop.ignored == [False]


def test_a_command_that_lies_in_two_letters_is_taken_once():
    """As where an engine has crashed after it had sent it, and sends it again."""
    loop = Redriven()
    letters = []
    for _ in range(2):
        loop.is_broken = True
        letters.append(loop.close(0))
    loop.ignored.clear()
    for letter in letters:
        loop.close(0, redriven_from=letter)
    assert loop.ignored == [False, True]


def test_a_command_that_came_once_more_by_itself_is_not_taken_again_when_its_letter_is_sent_in():
    loop = Redriven()
    loop.is_broken = True
    letter = loop.close(0)
    loop.close(0)
    loop.close(0, redriven_from=letter)
    assert loop.ignored == [False, True]


def test_a_command_that_was_sent_in_is_not_taken_again_when_it_comes_once_more_by_itself():
    loop = Redriven()
    loop.is_broken = True
    letter = loop.close(0)
    loop.close(0, redriven_from=letter)
    loop.close(0)
    assert loop.ignored == [False, True]


def test_what_could_not_be_read_twice_is_taken_once():
    loop = Redriven()
    letters = [loop.store.meta.next_offset]
    loop.put(b"of a newer release")
    loop.topics.append(b"of a newer release", 0, None)
    letters.append(loop.store.meta.next_offset)
    redriven = [(REDRIVEN_FROM, str(letters[0]).encode())]
    loop.topics.commands[0][-1] = loop.topics.commands[0][-1]._replace(headers=redriven)
    loop._memory.settle()
    loop.close(1)
    loop.ignored.clear()
    for letter in reversed(letters):
        loop.close(0, redriven_from=letter)
    assert loop.ignored == [False, True]
