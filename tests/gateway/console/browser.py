"""Chromium of the distribution, driven by playwright; and why there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.waiting import SECONDS_MAX

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str:
    """Chromium's path. Without one tests are skipped; where CI is set they fail."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        reason = "there is no Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the browser that keeps all it complains of."""

    def __init__(self, browser: Any, base: str, **options: Any) -> None:
        self.base = base
        self.context = browser.new_context(**options)
        # A machine that does much else takes longer over a page than playwright waits by itself.
        self.context.set_default_timeout(SECONDS_MAX * 1_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.bytes = 0
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def open(self, address: str) -> int:
        """The status of a page below /ui/."""
        return self.page.goto(self.base + address).status

    def follow(self, link: Any, key: str = "") -> None:
        """Click a link or button, or press a key on it, and wait for the whole page behind it.

        Else a look finds the page before, or rows of one that is still being read.
        """
        with self.page.expect_navigation():
            if key:
                link.press(key)
            else:
                link.click()

    def close(self) -> None:
        self.context.close()
