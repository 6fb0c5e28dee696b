"""Encrypted payloads: a browser has them decoded by an endpoint that has the key; nobody else may ask it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backbeat.gateway.console.hosts import origin_of
from tests.gateway.api.door import Door
from tests.gateway.console.desk import Desk
from tests.gateway.console.sealed import codec

TOKEN = "of-the-people-who-may-decode"
SECRET = "4000 1234 <b>5678</b>"


@pytest.fixture(scope="module")
def endpoint(stack, codec_url, tmp_path_factory):
    token = tmp_path_factory.mktemp("codec") / "token"
    token.write_text(TOKEN)
    port = urlsplit(codec_url).port
    words = ["codec", "serve", "tests.gateway.console.sealed:codec", "--port", str(port), "--token-file", str(token)]
    process = subprocess.Popen(
        [sys.executable, "-m", "backbeat.compose", *words, "--allow-origin", stack.http_urls[0]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("backbeat codec ready")
        yield Door(codec_url)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_browser_has_a_payload_decoded_and_the_gateway_never_sees_it(stack, story, endpoint, tab):
    data = {"name": "Sealed", "params": codec.encode([SECRET]), "more": {"$backbeat": "other"}}
    node = story.user.sent(client_data=data)["id"]
    screen = tab(java_script_enabled=True)
    screen.open(f"nodes/{node}")
    assert "4000 1234" not in screen.page.content()
    screen.page.get_by_role("button", name="Decode").click()
    screen.page.get_by_label("Token of the codec endpoint").fill("wrong")
    screen.page.keyboard.press("Enter")
    screen.page.get_by_label("Token of the codec endpoint").fill(TOKEN)
    screen.page.keyboard.press("Enter")
    decoded = screen.page.locator(".decoded")
    decoded.wait_for(timeout=60_000)
    assert SECRET in decoded.inner_text()
    assert "not decoded: " in decoded.inner_text()
    assert screen.page.locator("main b").count() == 0
    # A refusal is one for the browser, too, which says so.
    assert [line for line in screen.complaints if "401" not in line] == []
    assert screen.hosts == {urlsplit(stack.http_urls[0]).netloc, urlsplit(endpoint.url).netloc}
    policy = Desk(stack.http_urls[0]).get("").headers["content-security-policy"]
    assert f"connect-src 'self' {endpoint.url};" in policy
    assert "connect-src 'self';" in Desk(stack.http_urls[1]).get("login").headers["content-security-policy"]
    # Without a script there is nothing to press, and the page says what is stored.
    plain = tab()
    plain.open(f"nodes/{node}")
    assert plain.page.get_by_role("button", name="Decode").count() == 0
    assert '"$backbeat"' in plain.page.locator("main").inner_text()


def test_a_page_on_its_way_replaces_no_payload_that_is_being_decoded(stack, story, endpoint, tab):
    node = story.user.sent(client_data={"name": "Sealed", "params": codec.encode([SECRET])})["id"]
    screen = tab(java_script_enabled=True)
    refreshes = []

    def hold(route):
        if "x-backbeat-live" in route.request.headers:
            refreshes.append(route)
        else:
            route.continue_()

    screen.page.route(f"**/nodes/{node}", hold)
    screen.open(f"nodes/{node}")
    with screen.page.expect_request(lambda request: "x-backbeat-live" in request.headers):
        screen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    screen.page.get_by_role("button", name="Decode").click()
    screen.page.get_by_label("Token of the codec endpoint").fill(TOKEN)
    # Enter takes the form away, and the focus with it, before the endpoint is asked.
    with screen.page.expect_response(lambda response: "x-backbeat-live" in response.request.headers):
        screen.page.keyboard.press("Enter")
        refreshes[0].continue_()
    screen.page.locator(".decoded").wait_for(timeout=60_000)
    screen.page.get_by_text("Live. Pause").click()
    assert SECRET in screen.page.locator(".decoded").inner_text()


def test_the_endpoint_answers_to_the_console_and_to_who_has_the_token(stack, endpoint):
    let_in = {"Authorization": f"Bearer {TOKEN}"}
    sealed = codec.encode({"card": SECRET})
    answer = endpoint.post("/decode", {"payloads": [sealed, "plain", {"$backbeat": "stored"}]}, **let_in)
    assert answer.json["payloads"] == [{"card": SECRET}, "plain", None]
    assert [error is None for error in answer.json["errors"]] == [True, True, False]
    assert "access-control-allow-origin" not in answer.headers
    origin = {"Origin": stack.http_urls[0]}
    answer = endpoint.post("/decode", {"payloads": []}, **let_in, **origin)
    assert answer.headers["access-control-allow-origin"] == stack.http_urls[0]
    asked = endpoint.call("OPTIONS", "/decode", None, {**origin, "Access-Control-Request-Method": "POST"})
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "POST")
    for status, path, body, headers in (
        (401, "/decode", {"payloads": []}, {}),
        (401, "/decode", {"payloads": []}, {"Authorization": "Bearer x"}),
        (403, "/decode", {"payloads": []}, {**let_in, "Origin": "https://evil.example"}),
        (400, "/decode", {"payload": []}, let_in),
        (400, "/decode", {"payloads": [1] * 1_001}, let_in),
        (404, "/encode", {"payloads": []}, let_in),
    ):
        assert endpoint.post(path, body, **headers).status == status, (path, headers)
    form = endpoint.call("POST", "/decode", b"payloads=1", {**let_in, "Content-Type": "text/plain"})
    assert form.status == 415
    assert endpoint.get("/decode", **let_in).status == 405


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://codec.example", "https://codec.example"),
        ("http://127.0.0.1:9393/a/b", "http://127.0.0.1:9393"),
        ("http://[::1]:9393", "http://[::1]:9393"),
        ("https://codec.example; script-src *", None),
        ("https://codec.example'", None),
        ("https://codec.example/ x", None),
        ("javascript:alert(1)", None),
        ("codec.example", None),
        ("https://", None),
    ],
)
def test_only_an_origin_comes_into_the_policy(url, origin):
    assert origin_of(url) == origin


def test_an_endpoint_that_others_reach_needs_a_token(tmp_path):
    from click.testing import CliRunner

    from backbeat.compose.cli.program import backbeat

    short = tmp_path / "short"
    short.write_text("x")
    serve = ["codec", "serve", "tests.gateway.console.sealed:codec", "--allow-origin"]
    for words, text in (
        (["http://a", "--host", "0.0.0.0"], "can be reached by others"),  # noqa: S104 - refused
        (["http://a/b"], "is no origin"),
        (["http://a", "--token-file", str(short)], "16 at least"),
    ):
        result = CliRunner().invoke(backbeat, [*serve, *words])
        assert result.exit_code != 0
        assert text in result.output
    result = CliRunner().invoke(
        backbeat, ["codec", "serve", "tests.gateway.console.sealed", "--allow-origin", "http://a"]
    )
    assert "is no codec" in result.output
