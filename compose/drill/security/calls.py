"""Attacks on the HTTP API: calls without a token, with another's, and about what is another's."""

from __future__ import annotations

import re
import uuid
from typing import Any

from backbeat.compose.drill.load.payments import CLIENT
from backbeat.compose.drill.security.attack import Attack, expect
from backbeat.compose.drill.security.installation import RIVAL, SecuredInstallation
from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.http.routing import Access

_OK, _CREATED, _UNAUTHORIZED, _NOT_FOUND = 200, 201, 401, 404
_SEGMENT = re.compile(r"\{\w+\}")


def signal(installation: SecuredInstallation, client: str, **more: object) -> dict[str, Any]:
    """A signal of a client application over HTTP, in a workflow of its own, as it was answered."""
    with installation.http(client) as caller:
        subject = uuid.uuid4().hex
        created = caller.post("/workflows", json={"name": "Attacked", "subject": subject, "decider": "Decider"})
        expect(created.status_code == _CREATED, f"{client} itself gets {created.status_code}: {created.text}")
        answer = caller.post(f"/workflows/{created.json()['id']}/signal", json={"name": "Attacked", **more})
        expect(answer.status_code == _CREATED, f"{client} itself gets {answer.status_code}: {answer.text}")
        return dict(answer.json())


def _no_token(installation: SecuredInstallation) -> str:
    """Every route of the table, under each of its paths."""
    asked = [
        (route.method, _SEGMENT.sub(str(uuid.uuid4()), path))
        for route in ROUTES
        if route.access is not Access.PUBLIC
        for path in (route.path, *route.old_paths)
    ]
    with installation.http(CLIENT, "") as caller, installation.http() as nobody:
        for each in (caller, nobody):
            statuses = {call: each.request(*call).status_code for call in asked}
            open_calls = [call for call, status in statuses.items() if status != _UNAUTHORIZED]
            expect(not open_calls, f"answered without a token: {open_calls[:5]}")
    public = ", ".join(route.path for route in ROUTES if route.access is Access.PUBLIC)
    return f"{len(asked)} calls are answered with 401, with and without a Client-Id; open to anybody: {public}"


def _wrong_token(installation: SecuredInstallation) -> str:
    with installation.http(CLIENT) as caller:
        status = caller.get("/workflows/names").status_code
        expect(status == _OK, f"with its own token {CLIENT} gets {status}")
    wrong = {"another's": installation.clients[RIVAL].token, "a made-up": uuid.uuid4().hex}
    for whose, token in wrong.items():
        with installation.http(CLIENT, token) as caller:
            for call in (("GET", "/workflows/names"), ("POST", "/workflows"), ("POST", "/commands")):
                status = caller.request(*call).status_code
                expect(status == _UNAUTHORIZED, f"with {whose} token {' '.join(call)} is answered with {status}")
    return "another's token and a made-up one: 401"


def _read_another(installation: SecuredInstallation) -> str:
    node = signal(installation, CLIENT)
    workflow, activity = f"/workflows/{node['workflowId']}", f"/activities/{node['id']}"
    paths = (workflow, f"{workflow}/tree", f"{workflow}/nodes", activity, f"{activity}/errors", f"{activity}/response")
    return _refused(installation, [("GET", path, None) for path in paths])


def _change_another(installation: SecuredInstallation) -> str:
    node = signal(installation, CLIENT)
    workflow, activity = f"/workflows/{node['workflowId']}", f"/activities/{node['id']}"
    evidence = _refused(
        installation,
        [
            ("POST", f"{workflow}/signal", {"name": "Forged"}),
            ("POST", f"{workflow}/messages/forged", {}),
            ("PUT", f"{workflow}/pause", None),
            ("POST", f"{activity}/decisions", {"decisions": [{"name": "Forged", "type": "activity"}]}),
            ("PUT", f"{activity}/status/completed", {"response": {"result": "forged"}}),
            ("PUT", f"{activity}/restart", None),
        ],
    )
    with installation.http(CLIENT) as owner:
        nodes = owner.get(f"{workflow}/nodes")
        expect(nodes.status_code == _OK, f"its owner gets {nodes.status_code}")
        expect("orged" not in nodes.text, f"its owner sees {nodes.text[:200]}")
    return evidence


def _refused(installation: SecuredInstallation, calls: list[tuple[str, str, Any]]) -> str:
    """The refusal of calls about what is another's: as if it were not there."""
    with installation.http(RIVAL) as rival, installation.http(CLIENT) as owner:
        for method, path, body in calls:
            answer = rival.request(method, path, json=body)
            expect(answer.status_code == _NOT_FOUND, f"{method} {path} is answered with {answer.status_code}")
            # It is there: its owner may ask.
            if method == "GET":
                status = owner.get(path).status_code
                expect(status in {_OK, 204}, f"GET {path} is answered to its owner with {status}")
    return f"{len(calls)} calls about another's workflow and activity: 404"


_TOKEN = "every call but health and the API's description asks for a token"  # noqa: S105 - it is none
_OWN = "whoever has a client's token sees and changes what is that client's alone"
ATTACKS = (
    Attack("HTTP", "no token", _TOKEN, _no_token),
    Attack("HTTP", "wrong token", _TOKEN, _wrong_token),
    Attack("HTTP", "read another's activities, over HTTP", _OWN, _read_another),
    Attack("HTTP", "signal as another, over HTTP", _OWN, _change_another),
)
