"""Attacks on the console: no session, a forged one, a reader's deeds, forms from elsewhere."""

from __future__ import annotations

import base64
import contextlib
import html
import re
import uuid
from collections.abc import Iterator

import httpx2

from backbeat.compose.drill.load.payments import CLIENT
from backbeat.compose.drill.security.attack import Attack, expect
from backbeat.compose.drill.security.calls import signal
from backbeat.compose.drill.security.installation import CHANGER, READER, SecuredInstallation
from backbeat.compose.drill.waiting import until
from backbeat.gateway.console.table import TABLE
from backbeat.gateway.people.visitor import Right

_FORM = re.compile(r'<form class="form[ "].*?</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_OK, _SEE_OTHER, _FORBIDDEN = 200, 303, 403
_AUDIT_SECONDS_MAX = 60.0
_OURS = {"Sec-Fetch-Site": "same-origin"}


def _fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    form = _FORM.search(page)
    return {name: html.unescape(value) for name, value in _HIDDEN.findall(form[0])} if form else {}


@contextlib.contextmanager
def _logged_in(installation: SecuredInstallation, name: str) -> Iterator[httpx2.Client]:
    """A person who is logged in."""
    with installation.http() as visitor:
        _log_in(installation, visitor, name)
        yield visitor


def _log_in(installation: SecuredInstallation, visitor: httpx2.Client, name: str) -> None:
    fields = {**_fields(visitor.get("/ui/login").text), "name": name, "token": installation.people[name]}
    answer = visitor.post("/ui/login", data=fields, headers=_OURS)
    expect(answer.status_code == _SEE_OTHER, f"{name} cannot log in: {answer.status_code}")
    cookie = answer.headers["set-cookie"]
    expect("HttpOnly" in cookie and "SameSite" in cookie and "Secure" in cookie, f"the cookie is {cookie}")
    visitor.cookies.clear()
    visitor.headers["Cookie"] = cookie.partition(";")[0]


def _no_session(installation: SecuredInstallation) -> str:
    """Every page of the table that has no parameter."""
    rows = [row for row in TABLE if row.method == "GET" and row.right is not Right.NONE and "{" not in row.path]
    with installation.http() as nobody:
        for row in rows:
            answer = nobody.get(f"/ui/{row.path}")
            is_login = answer.status_code == _SEE_OTHER and "login" in answer.headers["location"]
            expect(is_login, f"/ui/{row.path} is answered with {answer.status_code}")
    return f"{len(rows)} pages lead to the login"


def _forged_session(installation: SecuredInstallation) -> str:
    with _logged_in(installation, READER) as visitor:
        status = visitor.get("/ui/workflows").status_code
        expect(status == _OK, f"with its own session {READER} gets {status}")
        name, _, value = visitor.headers["Cookie"].partition("=")
        content, _, signature = value.partition(".")
        forged = base64.urlsafe_b64decode(content).replace(READER.encode(), CHANGER.encode())
        expect(CHANGER.encode() in forged, "the session's content has no name")
        visitor.headers["Cookie"] = f"{name}={base64.urlsafe_b64encode(forged).decode()}.{signature}"
        status = visitor.get("/ui/workflows").status_code
        expect(status == _SEE_OTHER, f"with another's name in its session {READER} gets {status}")
    return f"{READER}'s session with {CHANGER}'s name in it is nobody's: it leads to the login"


def _deed_of_reader(installation: SecuredInstallation) -> str:
    path = f"/ui/workflows/{signal(installation, CLIENT)['workflowId']}/pause"
    with _logged_in(installation, CHANGER) as changer, _logged_in(installation, READER) as reader:
        fields = _fields(changer.get(path).text)
        expect("form" in fields, f"{CHANGER} is shown no form at {path}")
        statuses = [reader.get(path).status_code, reader.post(path, data=fields, headers=_OURS).status_code]
    expect(statuses == [_FORBIDDEN] * 2, f"{READER} is answered with {statuses}")
    return f"form and deed are refused to a reader with 403: {path}"


def _form_from_elsewhere(installation: SecuredInstallation) -> str:
    path = f"/ui/workflows/{signal(installation, CLIENT)['workflowId']}/pause"
    with _logged_in(installation, CHANGER) as changer, _logged_in(installation, CHANGER) as other:
        fields = _fields(changer.get(path).text)
        attempts = {
            "another site's": (changer, fields, {"Sec-Fetch-Site": "cross-site"}),
            "another session's": (other, fields, _OURS),
            "nobody's": (changer, {**fields, "form": "x.y"}, _OURS),
        }
        for whose, (visitor, sent, headers) in attempts.items():
            status = visitor.post(path, data=sent, headers=headers).status_code
            expect(status == _FORBIDDEN, f"{whose} form is answered with {status}")
        status = changer.post(path, data=fields, headers=_OURS).status_code
        expect(status == _SEE_OTHER, f"its own form is answered with {status}")
    return "forms of another site, of another session and of nobody: 403"


def _audit(installation: SecuredInstallation) -> str:
    path = f"/ui/workflows/{signal(installation, CLIENT)['workflowId']}/pause"
    reason = f"of the drill {uuid.uuid4().hex}"
    with _logged_in(installation, CHANGER) as changer:
        fields = {**_fields(changer.get(path).text), "reason": reason}
        status = changer.post(path, data=fields, headers=_OURS).status_code
        expect(status == _SEE_OTHER, f"its own form is answered with {status}")
        is_written = until(lambda: reason in changer.get("/ui/audit").text, _AUDIT_SECONDS_MAX)
    expect(is_written, f"after {_AUDIT_SECONDS_MAX:.0f} s the audit has no {reason!r}")
    return f"the audit has {reason!r}"


def _policy(installation: SecuredInstallation) -> str:
    with _logged_in(installation, READER) as reader:
        headers = reader.get("/ui/").headers
    policy = headers.get("Content-Security-Policy", "")
    for word in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        expect(word in policy, f"the policy is {policy!r}")
    expect("unsafe" not in policy, f"the policy is {policy!r}")
    return policy


ATTACKS = (
    Attack("console", "no session", "who has not logged in sees nothing", _no_session),
    Attack("console", "forged session", "sessions are signed", _forged_session),
    Attack("console", "deed of a reader", "a person's role decides what it shows and does", _deed_of_reader),
    Attack("console", "form from elsewhere", "forms are bound to their session", _form_from_elsewhere),
    Attack("console", "deed without a trace", "what people do is in backbeat.audit", _audit),
    Attack("console", "script of another", "scripts from elsewhere are forbidden by CSP", _policy),
)
