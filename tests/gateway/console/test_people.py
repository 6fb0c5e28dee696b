"""Login, roles, forms and the audit: who may come where, what they may do there, and what is written down of it."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from urllib.parse import urljoin, urlsplit

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.schemas.kafka.topics import AUDIT, console_topics, ensure_client_topics
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import delete_topics
from tests.gateway.api.door import Answer, Door, User
from tests.gateway.console.desk import Desk, hidden_fields, log_in
from tests.gateway.console.proxy import nginx
from tests.waiting import until

READ_ONLY = 2
_LOGIN = re.compile(r'<form [^>]*action="[./]*login">.*?</form>', re.DOTALL)
_KEPT = re.compile(r'<form class="form"[^>]*>.*?Send it again.*?</form>', re.DOTALL)


def command(stack, *words: str) -> str:
    result = CliRunner().invoke(backbeat, ["person", *words, "--bootstrap-servers", stack.bootstrap_servers])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def tokens(stack, story) -> dict[str, str]:
    """People by name, with their tokens."""
    add_client(stack.bootstrap_servers, "other", partitions=2)
    options = {
        "oper": ["--role", "operator", "--payloads"],
        "reader": ["--role", "reader"],
        "stranger": ["--role", "operator", "--payloads", "--client", "other"],
        "passing": ["--role", "reader"],
    }
    return {name: json.loads(command(stack, "add", name, *words, "--json"))["token"] for name, words in options.items()}


@pytest.fixture
def url(stack) -> str:
    return stack.http_urls[1]


@pytest.fixture
def oper(url, tokens) -> Desk:
    return log_in(url, "oper", tokens["oper"])


def failing(story) -> str:
    """A node with retries exhausted, in a workflow of its own."""
    node = story.user.sent(retry=0)
    assert story.user.say(node["id"], "errored", {"message": "no"}).status == 200
    story.user.wait_for(node["id"], "retries_exhausted")
    return node["id"]


# --- coming in -------------------------------------------------------------------------------------------------------


def test_a_browser_without_javascript_logs_in_and_out(url, tokens, story, tab):
    screen = tab(f"{url}/ui/")
    screen.open(f"nodes/{story.tree['failing']}")
    screen.page.wait_for_url("**/ui/login?next=*")
    screen.page.get_by_label("Name").fill("oper")
    screen.page.get_by_label("Token").fill("wrong")
    screen.follow(screen.page.get_by_role("button", name="Log in"))
    assert screen.page.get_by_role("alert").inner_text() == "There is nobody of this name with this token."
    screen.page.get_by_label("Name").fill("oper")
    screen.page.get_by_label("Token").fill(tokens["oper"])
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_url(f"**/ui/nodes/{story.tree['failing']}")
    (cookie,) = screen.context.cookies()
    assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == ("/ui", True, "Lax")
    assert re.fullmatch(r"backbeat_ui_[0-9a-f]{8}", cookie["name"])
    screen.follow(screen.page.get_by_role("button", name="Log out"))
    screen.page.wait_for_url("**/ui/login")
    assert screen.context.cookies() == []
    assert screen.complaints == []


def test_behind_a_proxy_the_session_belongs_to_the_path_there(url, tokens, tab, tmp_path):
    with nginx(tmp_path, "/a/b/", url) as base:
        screen = tab(f"{base}ui/")
        screen.open("workflows?client=shop")
        screen.page.get_by_label("Name").fill("reader")
        screen.page.get_by_label("Token").fill(tokens["reader"])
        screen.follow(screen.page.get_by_role("button", name="Log in"))
        screen.page.wait_for_url("**/a/b/ui/workflows?client=shop")
        assert [cookie["path"] for cookie in screen.context.cookies()] == ["/a/b/ui"]


@pytest.mark.parametrize(
    "following", ["https://evil.example", "//evil.example", "/docs", "../docs", "javascript:alert(1)", "nobody", "a\nb"]
)
def test_login_leads_to_our_own_pages_only(url, tokens, following):
    desk = Desk(url)
    fields = {**desk.hidden("login"), "next": following, "name": "oper", "token": tokens["oper"]}

    assert desk.send("login", fields).headers["location"] == "./"


@pytest.mark.parametrize("following", ["", "?every=10", "stuck?client=shop"])
def test_login_leads_to_the_page_that_was_asked_for(url, tokens, following):
    """The overview's address is empty."""
    desk = Desk(url)
    login = desk.get(following).headers["location"].removeprefix("./")
    location = desk.fill(login, name="oper", token=tokens["oper"]).headers["location"]

    assert urljoin(f"{url}/ui/login", location) == f"{url}/ui/{following}"


def test_a_client_comes_in_with_its_own_token(stack, url, story):
    result = CliRunner().invoke(
        backbeat, ["user", "add", "bank", "--json", "--bootstrap-servers", stack.bootstrap_servers]
    )
    added = json.loads(result.output)
    desk = log_in(url, "bank", added["token"])
    user = User(Door(stack.http_urls[0], added["id"]), None, "")
    workflow = user.workflow(subject="of the bank")

    assert "bank (client)" in desk.get("").text
    assert desk.get(f"workflows/{workflow['id']}").status == 200
    assert desk.get(f"workflows/{story.tree['workflow']}").status == 404


def test_a_session_ends_with_its_token(stack, url, tokens):
    desk = log_in(url, "passing", tokens["passing"])
    assert desk.get("").status == 200
    rotated = json.loads(command(stack, "rotate", "passing", "--json"))["token"]
    until(lambda: desk.get("").status == 303, "the session is over")
    desk = log_in(url, "passing", rotated)
    command(stack, "set", "passing", "--expires", "1s")
    until(lambda: desk.get("").status == 303, "the token has expired")
    command(stack, "set", "passing", "--expires", "1d")
    until(lambda: desk.get("").status == 200, "the token counts again")
    command(stack, "remove", "passing", "--yes")
    until(lambda: desk.get("").status == 303, "the person is gone")


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text.replace("=", "=A"), lambda _: "x=y"])
def test_a_changed_cookie_is_nobodys(oper, change):
    oper.cookie = change(oper.cookie)

    assert oper.get("").status == 303


class ProxiedDoor(Door):
    """A gateway, called from an address of one's own, as a proxy that has let somebody in."""

    def __init__(self, url: str, source: str, *names: str) -> None:
        super().__init__(url)
        self.source = source
        self.names = names

    def call(self, method, path, body=None, headers=None, *, seconds=120.0):
        if headers is None:
            headers = {}
        address = urlsplit(self.url)
        connection = HTTPConnection(address.hostname, address.port, seconds, source_address=(self.source, 0))
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            length = {} if body is None else {"Content-Length": str(len(body))}
            for name, value in (*headers.items(), *length.items()):
                connection.putheader(name, value)
            for name in self.names:
                connection.putheader("X-Forwarded-User", name)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()


def proxied(url: str, source: str, *names: str) -> Desk:
    desk = Desk(url)
    desk.door = ProxiedDoor(url, source, *names)
    return desk


def test_a_proxy_that_is_believed_says_who_one_is_and_nobody_else_does(url, tokens, story):
    node = failing(story)
    oper = proxied(url, "127.0.0.2", "oper")
    page = oper.get(f"nodes/{node}")
    assert page.status == 200
    assert "Retry…" in page.text
    assert "Log out" not in page.text
    assert "the proxy" in oper.get("me").text
    assert proxied(url, "127.0.0.1", "oper").get("").status == 303
    assert proxied(url, "127.0.0.2", "nobody").get("").status == 303
    # A proxy that adds its header to the visitor's own says two names.
    assert proxied(url, "127.0.0.2", "oper", "reader").get("").status == 303
    reader = proxied(url, "127.0.0.2", "reader")
    assert "Retry…" not in reader.get(f"nodes/{node}").text
    fields = {**oper.hidden(f"nodes/{node}/retry"), "reason": "by proxy"}
    assert reader.send(f"nodes/{node}/retry", fields).status == 403
    stranger = proxied(url, "127.0.0.2", "stranger")
    assert stranger.send(f"nodes/{node}/retry", fields).status == 403
    assert oper.send(f"nodes/{node}/retry", fields, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert oper.send(f"nodes/{node}/retry", fields).status == 303
    assert "by proxy" in oper.get("audit").text


# --- roles -----------------------------------------------------------------------------------------------------------


def test_who_may_not_act_sees_no_button_and_who_may_not_see_payloads_sees_none(url, tokens, oper, story):
    node = f"nodes/{story.hostile['node']}"
    reader = log_in(url, "reader", tokens["reader"])

    assert "Retry…" in oper.get(node).text
    assert "y" * 1_000 in oper.get(node).text
    assert "…</a>" not in reader.get(node).text
    assert "yyyy" not in reader.get(node).text
    assert "You may not see payloads." in reader.get(node).text


def test_a_person_of_one_client_sees_nothing_of_others(url, tokens, story):
    stranger = log_in(url, "stranger", tokens["stranger"])
    for address in (f"nodes/{story.tree['failing']}", f"workflows/{story.tree['workflow']}"):
        assert stranger.get(address).status == 404
    assert stranger.get(f"go?q={story.tree['failing']}").status == 404
    assert stranger.get(f"nodes/{story.tree['failing']}/retry").status == 404
    assert stranger.get("workflows?client=shop").status == 400
    for address in ("", "workflows", "nodes", "system", "audit"):
        text = stranger.get(address).text
        assert "Purchases" not in text, address
        assert ">shop<" not in text, address


def test_a_console_that_is_read_only_and_alone(stack, story):
    desk = Desk(stack.http_urls[READ_ONLY])
    node = f"nodes/{story.tree['failing']}"

    assert "Retry…" not in desk.get(node).text
    assert "read only" in desk.get(node).text
    assert desk.send(f"{node}/retry", {}).status == 405
    assert desk.door.get("/health").status == 200
    assert desk.door.get("/metrics").status == 200
    refusal = desk.door.get(f"/workflows/{story.tree['workflow']}", **{"Client-Id": story.user.id})
    assert refusal.status == 404
    assert "--ui only" in refusal.json["message"]


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
        {"Sec-Fetch-Site": ""},
        {"Host": "evil.example"},
        {"Content-Type": "text/plain"},
    ],
    ids=str,
)
def test_a_form_of_another_site_does_nothing(oper, story, headers):
    node = story.tree["failing"]
    fields = {**oper.hidden(f"nodes/{node}/retry"), "reason": "forged"}

    assert oper.send(f"nodes/{node}/retry", fields, **headers).status in (403, 413, 421)
    assert story.user.node(node)["currentServerStatus"] == "retries_exhausted"
    assert "forged" not in oper.get("audit").text


def test_a_form_counts_for_its_page_and_its_session_only(url, tokens, oper, story):
    node = story.tree["failing"]
    others = log_in(url, "oper", tokens["oper"])
    for fields in (
        oper.hidden(f"nodes/{story.hostile['node']}/retry"),
        oper.hidden(f"nodes/{node}/cancel"),
        others.hidden(f"nodes/{node}/retry"),
        {"form": "x.y", "key": "0" * 32},
        {},
    ):
        assert oper.send(f"nodes/{node}/retry", {**fields, "reason": "forged"}).status == 403
    assert story.user.node(node)["currentServerStatus"] == "retries_exhausted"


def test_where_browsers_send_no_fetch_headers_the_origin_counts(oper, story):
    node = failing(story)
    fields = {**oper.hidden(f"nodes/{node}/retry"), "reason": ""}

    headers = {"Sec-Fetch-Site": "", "Origin": oper.url}
    assert oper.send(f"nodes/{node}/retry", fields, **headers).status == 303


def test_nothing_is_kept_of_a_form_from_another_site_that_is_called_by_an_address(url, oper, story):
    """Browsers send no fetch headers to a console that is reached by http and an address in figures."""
    headers = {"Sec-Fetch-Site": "", "Origin": "http://203.0.113.9:8000"}
    fields = {"reason": "forged", "key": "0" * 32, "form": "x.y"}
    for desk, status in ((oper, 403), (Desk(url), 401)):
        answer = desk.send(f"nodes/{story.tree['failing']}/cancel", fields, **headers)
        assert (answer.status, "forged" in answer.text) == (status, False)
    login = {**oper.hidden("login"), "name": "oper", "token": "wrong", "kept.reason": "forged"}
    assert "forged" not in Desk(url).send("login", login, **headers).text


def test_a_login_that_is_refused_has_the_form_that_waits_for_it(url, tokens, story):
    """Its page is older than the gateway, or somebody has logged in beside it."""
    node = failing(story)
    desk = Desk(url)
    fields = {"reason": "typed & kept\r\n<it>", "key": "0" * 32}
    answer = desk.send(f"nodes/{node}/retry?back=a%23b", fields)
    assert answer.status == 401
    waiting = hidden_fields(answer.text)
    assert waiting["next"] == f"nodes/{node}/retry?back=a%23b"
    desk.cookie = log_in(url, "oper", tokens["oper"]).cookie
    answer = desk.send("login", {**waiting, "name": "oper", "token": tokens["oper"]})
    assert (answer.status, "This form is too old" in answer.text, tokens["oper"] in answer.text) == (403, True, False)
    again = hidden_fields(_LOGIN.search(answer.text)[0])
    assert {**again, "form": ""} == {**waiting, "form": ""}
    answer = desk.send("login", {**again, "name": "oper", "token": tokens["oper"]})
    assert (answer.status, "You are logged in" in answer.text) == (200, True)
    desk.cookie = answer.headers["set-cookie"].partition(";")[0]
    kept = hidden_fields(_KEPT.search(answer.text)[0])
    assert {**kept, "form": ""} == {**fields, "form": ""}
    assert desk.send(f"nodes/{node}/retry", kept).status == 303
    story.user.wait_for(node, "sent_to_client")


def test_a_search_is_what_it_was_after_the_login(url, tokens):
    desk = Desk(url)
    answer = desk.get("nodes?name=a%23b%2541")
    assert answer.status == 303
    following = desk.hidden(answer.headers["location"].removeprefix("./"))["next"]
    assert following == "nodes?name=a%23b%2541"


# --- actions and their audit -----------------------------------------------------------------------------------------


def test_an_operator_retries_a_node_and_the_page_says_who_and_why(url, tokens, story, tab):
    node = failing(story)
    screen = tab(f"{url}/ui/")
    screen.open(f"nodes/{node}/retry")
    screen.page.get_by_label("Name").fill("oper")
    screen.page.get_by_label("Token").fill(tokens["oper"])
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_url("**/retry")
    # With the keyboard alone.
    screen.page.get_by_label("Why").focus()
    screen.page.keyboard.type("bank is back <b>, INC-771")
    screen.page.keyboard.press("Tab")
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_url(f"**/ui/nodes/{node}?done=*")

    assert screen.page.get_by_role("status").inner_text() == "oper: retry “bank is back <b>, INC-771” — done"
    story.user.wait_for(node, "sent_to_client")
    row = screen.page.get_by_role("region", name="Audit").locator("tbody tr").first.inner_text()
    assert "oper" in row
    assert "bank is back <b>, INC-771" in row
    assert "done" in row
    screen.follow(screen.page.get_by_role("link", name="Audit"))
    assert "INC-771" in screen.page.locator("main").inner_text()
    assert screen.complaints == []


def test_a_form_that_is_sent_twice_is_done_once(oper, story):
    node = failing(story)
    fields = {**oper.hidden(f"nodes/{node}/retry"), "reason": "twice"}

    def changes() -> int:
        return len(story.user.door.get(f"/activities/{node}/status_changes").json)

    assert oper.send(f"nodes/{node}/retry", fields).status == 303
    story.user.wait_for(node, "sent_to_client")
    story.user.say(node, "errored", {"message": "no"})
    story.user.wait_for(node, "retries_exhausted")
    before = changes()
    assert oper.send(f"nodes/{node}/retry", fields).status == 303
    assert story.user.node(node)["currentServerStatus"] == "retries_exhausted"
    assert changes() == before


@pytest.mark.parametrize(
    ("action", "server", "client"),
    [
        ("resolve", "complete", "resolved"),
        ("shutdown", "complete", "shutdown"),
        ("cancel", "deactivated", "errored"),
        ("reset", "retries_exhausted", "errored"),
    ],
)
def test_what_ends_something_asks_why(oper, story, action, server, client):
    node = failing(story)
    page = f"nodes/{node}/{action}"
    for reason, problem in (("", "Say why"), ("  ", "Say why"), ("x" * 501, "500 is the most")):
        answer = oper.fill(page, reason=reason)
        assert answer.status == 400
        assert problem in answer.text
        assert reason.strip() in answer.text
    assert story.user.node(node)["currentServerStatus"] == "retries_exhausted"

    assert oper.fill(page, reason="it is paid by hand").status == 303
    story.user.wait_for(node, server)
    assert story.user.node(node)["currentClientStatus"] == client


def test_what_cannot_be_done_is_said_and_a_refusal_is_written_down(oper, story):
    node = failing(story)
    retry = {**oper.hidden(f"nodes/{node}/retry"), "reason": "too late"}
    assert oper.fill(f"nodes/{node}/cancel", reason="over").status == 303
    assert "this cannot be done: it is deactivated" in oper.get(f"nodes/{node}/retry").text

    answer = oper.send(f"nodes/{node}/retry", retry)

    assert answer.status == 303
    page = oper.get(f"nodes/{node}?{answer.headers['location'].partition('?')[2]}").text
    assert "retry “too late” — refused: it was canceled or deactivated before" in page
    assert "Retry…" not in page


def test_a_workflow_is_paused_resumed_and_closed(oper, story):
    workflow = story.user.workflow()["id"]
    page = f"workflows/{workflow}"
    assert oper.fill(f"{page}/pause", reason="audit").status == 303
    assert story.user.door.get(f"/workflows/{workflow}").json["paused"] is True
    assert "Resume…" in oper.get(page).text
    assert "There is nothing to do" in oper.get(f"{page}/pause").text
    assert oper.fill(f"{page}/resume", reason="").status == 303
    assert oper.fill(f"{page}/complete", reason="over").status == 303
    state = story.user.door.get(f"/workflows/{workflow}").json
    assert (state["paused"], state["complete"]) == (False, True)
    assert oper.get(page).text.count('<a href="../audit?by=oper">') == 3


def test_the_audit_is_listed_at_a_terminal(stack, oper, story):
    node = failing(story)
    assert oper.fill(f"nodes/{node}/retry", reason="listed, \x1b[1m").status == 303

    def listed(*words: str) -> str:
        servers = ["--bootstrap-servers", stack.bootstrap_servers]
        result = CliRunner().invoke(backbeat, ["audit", "list", *words, *servers])
        assert result.exit_code == 0, (words, result.output, result.exception)
        return result.output

    (line,) = listed("--of", node, "--json").splitlines()
    entry = json.loads(line)
    assert (entry["actor"], entry["action"], entry["reason"], entry["outcome"]) == (
        *("oper", "retry", "listed, \x1b[1m", "done"),
    )
    shown = listed("--by", "oper", "--action", "retry", "--since", "1h")
    assert "listed, " in shown
    assert "\x1b" not in shown
    assert listed("--by", "nobody") == "There is none.\n"
    assert listed("--of", node, "--until", "1h") == "There is none.\n"
    assert listed("--before", entry["id"], "--of", node) == "There is none.\n"
    assert json.loads(listed("--before", entry["id"], "--limit", "1", "--json"))["id"] != entry["id"]
    assert listed("--limit", "1", "--json").count("\n") == 1
    for name in ("shop", story.user.id):
        (line,) = listed("--client", name, "--of", node, "--json").splitlines()
        assert json.loads(line)["id"] == entry["id"]
    add_client(stack.bootstrap_servers, "unlisted", partitions=2)
    assert listed("--client", "unlisted") == "There is none.\n"
    nobody = CliRunner().invoke(
        backbeat, ["audit", "list", "--client", "nobody's", "--bootstrap-servers", stack.bootstrap_servers]
    )
    assert nobody.exit_code == 1
    assert "there is no client" in nobody.output


def test_the_audit_is_searched_by_pages_and_downloaded(oper, url, tokens, story):
    node = failing(story)
    for reason in ("first of them", "second of them"):
        story.user.wait_for(node, "retries_exhausted")
        assert oper.fill(f"nodes/{node}/retry", reason=reason).status == 303
        story.user.wait_for(node, "sent_to_client")
        assert story.user.say(node, "errored", {"message": "no"}).status == 200

    def reasons(words: str) -> list[str]:
        text = oper.get(f"audit?of={node}&{words}").text
        return [reason for reason in ("second of them", "first of them") if reason in text]

    both = ["second of them", "first of them"]
    for words, matches in (
        ("", both),
        ("by=oper&action=retry&client=shop&since=2020-01-01&until=2999-01-01", both),
        ("by=reader", []),
        ("action=cancel", []),
        ("until=2020-01-01", []),
        ("since=2999-01-01", []),
        ("client=other", []),
        ("before=unknown", []),
    ):
        assert reasons(words) == matches, words
    assert oper.get("audit?client=nobody").status == 400
    assert oper.get("audit?since=soon").status == 400

    head, *rows = map(json.loads, oper.get(f"audit.jsonl?of={node}&by=oper").text.splitlines())
    assert (head["list"], head["rows"], head["address"]) == ("audit", 2, f"audit.jsonl?of={node}&by=oper")
    assert [(row["reason"], row["outcome"]) for row in rows] == [(reason, "done") for reason in both]
    assert "first of them" in oper.get(f"audit.csv?of={node}").text
    stranger = log_in(url, "stranger", tokens["stranger"])
    assert "of them" not in stranger.get(f"audit.csv?of={node}").text

    # The next page begins behind the last entry of the one before.
    newest, oldest = (row["id"] for row in rows)
    assert reasons(f"before={newest}") == ["first of them"]
    assert reasons(f"before={oldest}") == []
    assert ">Newest</a>" in oper.get(f"audit?before={newest}").text


def test_nothing_is_done_that_cannot_be_written_down(stack, oper, story):
    node = failing(story)
    fields = {**oper.hidden(f"nodes/{node}/retry"), "reason": "unseen"}
    delete_topics(stack.bootstrap_servers, AUDIT)
    try:
        answer = oper.send(f"nodes/{node}/retry", fields)
        assert answer.status == 503
        assert "Nothing was done" in answer.text
        assert story.user.node(node)["currentServerStatus"] == "retries_exhausted"
    finally:
        ensure_client_topics(stack.bootstrap_servers, console_topics())
    until(lambda: oper.send(f"nodes/{node}/retry", fields).status == 303, "it is written down and done")
    story.user.wait_for(node, "sent_to_client")
    until(lambda: "unseen" in oper.get("audit").text, "the audit is followed again")


def test_wrong_tries_are_counted(url, tokens):
    """The last one: no wrong name is taken from this address for a minute."""
    desk = Desk(url)
    fields = {**desk.hidden("login"), "name": "oper", "token": "wrong"}

    until(lambda: desk.send("login", fields).status == 429, "further tries are refused")
    assert 0 < int(desk.send("login", fields).headers["retry-after"]) <= 60
    assert desk.send("login", {**fields, "token": tokens["oper"]}).status == 303, "a stranger locks nobody out"
