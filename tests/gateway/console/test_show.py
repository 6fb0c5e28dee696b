"""Values as people read them: JSON texts token by token, hidden characters, hosts, lengths of time."""

from __future__ import annotations

import html
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backbeat.gateway.console.hosts import Hosts, is_loopback
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages.lists.words import address_of
from backbeat.gateway.console.show.error_text import errors_of
from backbeat.gateway.console.show.payload import SHOWN_CHARACTERS_MAX, payload, tokens
from backbeat.gateway.console.show.times import length, local
from backbeat.gateway.console.show.visible import visible
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, ServerStatus

_TEXTS = st.text(max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=25) | st.dictionaries(_TEXTS, inner, max_size=25),
    max_leaves=60,
)


def read(markup: str) -> list[str]:
    """The tokens that a page shows."""
    without_counts = re.sub(r" <i>[^<]*</i>", "", markup)
    return tokens(html.unescape(re.sub(r"<[^>]*>", "", without_counts)))


@given(_JSON, st.booleans())
@example({"a": "</span><script>alert(1)</script>"}, False)
@example([[[[[{"deep": [1]}]]]]], False)
@example({"1": 1e300, "2": -0.0}, True)
def test_a_payload_shows_the_tokens_of_the_text_and_no_other(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    data = text.encode(errors="surrogatepass")
    shown = payload(data)

    expected = [visible(token) for token in tokens(data.decode(errors="surrogateescape"))]
    assert read(shown.html) == expected
    assert re.sub(r"</?(span|div|details|summary|i|br)( class=\"[kswn]\")?>", "", shown.html).count("<") == 0
    assert shown.size == len(data)


@pytest.mark.parametrize(
    "text", ['{"a":1.10,"a":1e5,"b":0.30000000000000004}', '"\\u00e9\\ud83d"', "12345678901234567890"]
)
def test_numbers_repeated_keys_and_escapes_stay_as_they_are_stored(text):
    assert "".join(read(payload(text.encode()).html)) == text


def test_what_is_long_is_shown_by_its_beginning():
    shown = payload(json.dumps({"text": "y" * 256_000, "more": 1}).encode())

    assert not shown.is_whole
    assert shown.size == 256_023
    assert SHOWN_CHARACTERS_MAX < len(shown.html) < SHOWN_CHARACTERS_MAX + 500
    assert shown.html.count("<div>") == shown.html.count("</div>")


def test_what_is_deep_is_folded():
    shown = payload(json.dumps([[[[1]]]]).encode())

    assert shown.html.count("<details>") == shown.html.count("</details>") == 1


@pytest.mark.parametrize("text", ["null", "{}", "[]", " {} "])
def test_nothing_is_called_empty(text):
    assert payload(text.encode()).is_empty
    assert payload(None) is None


def test_hidden_characters_are_written_out():
    assert visible("a\u202eb\u200b\x00\ud800\u2066") == "a⟦U+202E⟧b⟦U+200B⟧⟦U+0000⟧⟦U+D800⟧⟦U+2066⟧"
    assert visible("Grüße, 東京 🚀\n\t") == "Grüße, 東京 🚀\n\t"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:9292", True),
        ("127.0.0.1:9292", True),
        ("[::1]:9292", True),
        ("10.0.0.7", True),
        ("Backbeat.example:443", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        (None, False),
        ("[", False),
    ],
)
def test_hosts(host, ours):
    assert Hosts(("backbeat.example",)).is_ours(host) is ours


@pytest.mark.parametrize(
    ("site", "origin", "ours"),
    [
        ("same-origin", None, True),
        ("cross-site", "http://localhost:9292", False),
        ("same-site", "http://localhost:9292", False),
        ("none", "http://localhost:9292", False),
        (None, "http://localhost:9292", True),
        (None, "http://evil.example", False),
        (None, "null", False),
        (None, None, False),
    ],
)
def test_forms_come_from_our_own_pages(site, origin, ours):
    assert Hosts(()).is_same_origin(site, origin) is ours


@pytest.mark.parametrize(
    ("site", "origin", "is_ours"),
    [
        ("same-origin", None, True),
        ("cross-site", "http://10.0.0.5:9292", False),
        (None, "http://10.0.0.5:9292", True),
        (None, "http://10.0.0.5", False),
        (None, "http://203.0.113.9:9292", False),
        (None, "http://localhost:9292", False),
        (None, None, False),
    ],
)
def test_what_a_form_says_is_shown_again_for_a_page_of_the_same_host(site, origin, is_ours):
    assert Hosts.is_same_host("10.0.0.5:9292", site, origin) is is_ours


def test_loopback():
    assert [is_loopback(name) for name in ("127.0.0.1", "::1", "localhost", "10.0.0.1", "shop")] == [
        *(True, True, True),
        *(False, False),
    ]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0.0 s"), (1_449, "1.4 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h"), (90_061_000, "1 d 1 h")],
)
def test_lengths_of_time(milliseconds, text):
    assert length(milliseconds) == text


def errored(response, *, server=False):
    status = ServerStatus.ERRORED if server else ClientStatus.ERRORED
    return StatusChange(server, ClientStatus.RECEIVED, status, 1, response)


@pytest.mark.parametrize(
    ("response", "message", "traceback"),
    [
        (
            b'{"error":{"code":1,"message":"ValueError: no","data":["line 1\\n","line 2\\n"]}}',
            "ValueError: no",
            "line 1\nline 2",
        ),
        (b'{"message":"no","error_klass":"Bank","backtrace":["a"]}', "Bank: no", "a"),
        (b'"no"', "no", ""),
        (b"17", "17", ""),
        (b"{}", "{}", ""),
        (b"no json", "no json", ""),
        (None, "no reason was given", ""),
        (b'{"error":{"message":{"deep":1},"data":7}}', '{"deep":1}', "7"),
    ],
)
def test_errors_of_any_shape(response, message, traceback):
    (error,) = errors_of([errored(response)])

    assert (error.message, error.traceback) == (message, traceback)


def test_errors_are_newest_first_and_of_both_machines():
    history = [errored(b'"first"'), StatusChange(True, ServerStatus.STARTED, ServerStatus.RETRYING, 2, None)]
    history.append(errored(b'"second"', server=True))

    assert [(error.message, error.server) for error in errors_of(history)] == [("second", True), ("first", False)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Camera 703", None),
        ("http://shop.example", None),
        ("status:failing", "nodes?status=failing"),
        ('client:bank name:"Charge card" had:errored', "nodes?client=bank&name=Charge+card&had=errored"),
        ("Camera status:running", "workflows?status=running&text=Camera"),
        ("subject:703 client:shop", "workflows?text=703&client=shop"),
        ("metadata:INC until:2026-01-01", "nodes?text=INC&until=2026-01-01"),
        ("status:errored had:retrying", "nodes?status=errored&had=retrying"),
        ("slot:pay slot_key:bank-7 made_since:2026-01-01", "nodes?slot=pay&slot_key=bank-7&made_since=2026-01-01"),
        ("subject:703 tid:3f2a9c1", "workflows?text=703&tid=3f2a9c1"),
        ("parent:x rest", "nodes?parent=x&text=rest"),
        ("cause:00f3a9c14be27d55 client:bank", "nodes?cause=00f3a9c14be27d55&client=bank"),
        ("name:<b>&x=1", "nodes?name=%3Cb%3E%26x%3D1"),
    ],
)
def test_searches_in_words(text, address):
    assert address_of(text) == address


def test_a_length_of_time_is_a_time():
    assert re.fullmatch(r"nodes\?since=20\d\d-\d\d-\d\dT\d\d%3A\d\d%3A\d\d\.\d{3}Z", address_of("since:2h") or "")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("status:failled", "failing"),
        ("client:bank nme:x", "name"),
        ("subject:1 metadata:2", "subject is asked of workflows"),
        ("subject:1 workflow:2", "workflow of nodes"),
        ("had:failing", "There are retries_exhausted"),
    ],
)
def test_a_word_that_is_none_is_said_with_the_nearest(text, meant):
    with pytest.raises(PageError) as refused:
        address_of(text)

    assert meant in refused.value.text


def test_the_last_hours_of_the_calendar_are_shown_in_utc():
    assert local(1_795_970_000_000, "Europe/Berlin") == "Sun 2026-11-29 17:33 CET"
    assert local(253_402_300_740_000, "Pacific/Kiritimati") == "9999-12-31 23:59 UTC"
