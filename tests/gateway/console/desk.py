"""A browser's part at a console, without one: cookies, and forms that were fetched before they are sent."""

from __future__ import annotations

import html
import re
import urllib.parse
from typing import Any

from tests.gateway.api.door import Answer, Door

_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_FORM = re.compile(r'<form class="form[ "].*?</form>', re.DOTALL)


def hidden_fields(form: str) -> dict[str, str]:
    """The hidden fields of a form."""
    return {name: html.unescape(value) for name, value in _HIDDEN.findall(form)}


class Desk:
    """A visitor at one gateway."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self.url = url
        self.door = Door(url)
        self.cookie = cookie

    def get(self, address: str, **headers: str) -> Answer:
        return self.door.get(f"/ui/{address}", Cookie=self.cookie, **headers)

    def hidden(self, address: str) -> dict[str, str]:
        """The hidden fields of the form on a page."""
        form = _FORM.search(self.get(address).text)
        assert form is not None, address
        return hidden_fields(form[0])

    def send(self, address: str, fields: dict[str, Any], **headers: str) -> Answer:
        """A form as a browser sends it from our own page, unless headers say otherwise."""
        known = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode(fields).encode()
        sent = {name: value for name, value in {**known, "Cookie": self.cookie, **headers}.items() if value}
        return self.door.call("POST", f"/ui/{address}", body, sent)

    def fill(self, address: str, **fields: str) -> Answer:
        """Fetch a form, fill it in, send it."""
        return self.send(address, {**self.hidden(address), **fields})


def log_in(url: str, name: str, token: str, address: str = "") -> Desk:
    """Somebody who is logged in."""
    desk = Desk(url)
    answer = desk.send("login", {**desk.hidden(f"login?next={address}"), "name": name, "token": token})
    assert answer.status == 303, answer
    desk.cookie = answer.headers["set-cookie"].partition(";")[0]
    return desk
