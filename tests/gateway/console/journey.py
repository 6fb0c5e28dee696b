"""The journey of 3 a.m.: from a cause to a drained job, on a phone, by keys without JavaScript or by a finger.

`Keyboard` walks other journeys, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.gateway.console.browser import Tab
from tests.waiting import SECONDS_MAX

CLICKS_MAX = 6
_TABS_MAX = 200
#: A phone, and no script: what `tab` is given.
PHONE = {"viewport": {"width": 320, "height": 640}, "java_script_enabled": False}
#: A phone whose browser has all that it can.
TOUCHED = {"viewport": {"width": 320, "height": 640}, "java_script_enabled": True, "has_touch": True, "is_mobile": True}


def shown(page: Any) -> str:
    return page.locator("main").inner_text()  # type: ignore[no-any-return]  # playwright is not typed here


class Keyboard:
    """An operator with a keyboard alone, who counts what is pressed."""

    def __init__(self, screen: Tab) -> None:
        self.page = screen.page
        self.clicks = 0

    def press(self, role: str, name: str) -> None:
        """Reach something by the Tab key, and press it."""
        target = self.page.get_by_role(role, name=name).first
        # Of several radio buttons the Tab key reaches the checked one, and arrows the others.
        self._reach(self.page.get_by_role("radio", checked=True).first if role == "radio" else target, name)
        self.clicks += 1
        self.page.keyboard.press("ArrowDown" if role == "radio" else "Enter")
        assert role != "radio" or target.is_checked()

    def follow(self, role: str, name: str) -> None:
        """Press something that leads to another page, and wait for that."""
        with self.page.expect_navigation():
            self.press(role, name)

    def type(self, label: str, text: str) -> None:
        self._reach(self.page.get_by_label(label), label)
        self.page.keyboard.type(text)

    def _reach(self, target: Any, name: str) -> None:
        """Move the focus by the Tab key, from the first link of the page on."""
        self.page.locator("a.skip").focus()
        for _ in range(_TABS_MAX):
            self.page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"{name} is not reached by the Tab key")


class Finger:
    """An operator with a finger, who counts each touch, of the fields that are typed in, too."""

    def __init__(self, screen: Tab) -> None:
        self.page = screen.page
        self.clicks = 0

    def press(self, role: str, name: str) -> None:
        self._touch(self.page.get_by_role(role, name=name).first)

    def type(self, label: str, text: str) -> None:
        field = self.page.get_by_label(label)
        self._touch(field)
        assert field.evaluate("element => element === document.activeElement")
        self.page.keyboard.type(text)

    def _touch(self, target: Any) -> None:
        self.clicks += 1
        target.tap(timeout=SECONDS_MAX * 1_000)


def retry_a_cause(
    screen: Tab,
    cause: str,
    nodes: int,
    *,
    hand: type[Keyboard | Finger] = Keyboard,
    after_the_first: Callable[[], object] = lambda: None,
    seconds: float = SECONDS_MAX,
) -> int:
    """Retry what has failed with a cause: the first ten, then all. The clicks that it took; the job's page is open."""
    operator, milliseconds = hand(screen), seconds * 1_000
    operator.press("button", f"Retry what failed with: {cause}")
    # Without a script the page of a count loads itself anew until it is counted.
    screen.page.get_by_label("Why").wait_for(timeout=milliseconds)
    assert f"The filter matches {nodes:,}, exactly those of the cause" in shown(screen.page)
    operator.type("Why", "does the bank answer?")
    operator.press("button", "Retry these")
    screen.page.get_by_role("heading", name="The first 10").wait_for(timeout=milliseconds)
    after_the_first()
    operator.type("Why", "bank is back, INC-771")
    operator.press("button", "Retry these")
    screen.page.get_by_text("ended", exact=True).wait_for(timeout=milliseconds)
    text = shown(screen.page)
    assert f"{nodes - 10:,} done" in text
    assert "dev: retry “bank is back, INC-771” — done" in text
    return operator.clicks
