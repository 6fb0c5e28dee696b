"""What the gateways show of themselves after real calls and webhooks; nothing that callers make up becomes a label."""

from __future__ import annotations

import http.server
import json
import re
import threading
import uuid
from collections import Counter

import pytest

from backbeat.compose.local.ports import free_port
from backbeat.gateway.api.routes import ROUTES
from tests.gateway.api.door import Door
from tests.streams.observe.scrape import documented, get, scrape, shown
from tests.waiting import until

CALLS, SECONDS = "backbeat_gateway_requests", "backbeat_gateway_request_seconds_count"
WEBHOOKS, TRIES = "backbeat_gateway_webhooks", "backbeat_gateway_webhook_tries"
WEBHOOK_SECONDS = "backbeat_gateway_webhook_seconds_count"
#: One label and its value, in a line of metrics.
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def more(before, after, family):
    """What was counted in between."""
    return {
        labels: value - before[family].get(labels, 0)
        for labels, value in after[family].items()
        if value != before[family].get(labels, 0)
    }


def labels(url):
    """(metric, label) -> its values."""
    labels_of = {}
    for line in get(f"{url}/metrics")[1].splitlines():
        name, _, rest = line.partition("{")
        if line.startswith("backbeat_") and rest:
            for label, value in LABEL.findall(rest):
                if label != "le":
                    labels_of.setdefault((name, label), set()).add(value)
    return labels_of


@pytest.fixture
def url(stack):
    return stack.http_urls[0]


def test_every_metric_is_documented_and_every_documented_one_is_there(user, url):
    user.sent()

    def all_there():
        # What is read from the projection's database is there once that was asked; the info is a process's of its own.
        return shown(scrape(url)) == documented("gateway", "projection") - {"backbeat_projection_info"}

    until(all_there, "all of docs/reference/metrics.md")


def test_a_call_is_counted_by_its_route_its_method_and_its_status(user, url):
    before = scrape(url)
    workflow = user.workflow()
    for _ in range(3):
        assert user.door.get(f"/workflows/{workflow['id']}").status == 200
    # An old path is the same call.
    assert user.door.get(f"/v2/workflows/{workflow['id']}").status == 200
    assert user.door.post("/workflows", {"name": "no subject"}).status == 400
    assert Door(url).get("/workflows/names").status == 401
    after = scrape(url)

    expected = {
        "POST,/workflows,201": 1,
        "GET,/workflows/{id},200": 4,
        "POST,/workflows,400": 1,
        "GET,/workflows/names,401": 1,
    }
    assert more(before, after, CALLS) == expected
    timed = Counter()
    for where, count in expected.items():
        timed[where.rpartition(",")[0]] += count
    assert more(before, after, SECONDS) == timed
    assert after["backbeat_gateway_requests_in_progress"] == {"": 0}
    assert after["backbeat_gateway_engine_reachable"] == {"": 1}
    # Scrapes and probes are no calls.
    assert more(after, scrape(url), CALLS) == {}


def test_what_a_caller_makes_up_is_no_label(user, url):
    user.door.get("/workflows/names")
    before, known = scrape(url), labels(url)
    for method in ("DELETE", "PATCH", "PROPFIND", "SEARCH", "LOCK"):
        made_up = uuid.uuid4().hex
        assert user.door.get(f"/workflows/{made_up}").status in {400, 404}
        assert user.door.get(f"/workflows/{uuid.uuid4()}").status == 404
        assert user.door.put(f"/activities/{uuid.uuid4()}/status/{made_up}").status in {400, 404, 409}
        assert user.door.get(f"/{made_up}/{made_up}?{made_up}={made_up}").status == 404
        assert user.door.call(method, "/workflows").status == 405
        assert user.door.get("/workflows/names", **{"X-Backbeat-Tid": made_up}).status == 200
        assert Door(url, made_up).get("/workflows/names").status in {400, 401}
    after, now = scrape(url), labels(url)

    counted = more(before, after, CALLS)
    assert sum(counted.values()) == 35
    assert counted["none,none,404"] == counted["none,none,405"] == 5
    routes = {route.path for route in ROUTES} | {"none"}
    assert now["backbeat_gateway_requests_total", "route"] <= routes
    assert now["backbeat_gateway_requests_total", "method"] <= {route.method for route in ROUTES} | {"none"}
    new = {value for label, values in now.items() for value in values - known.get(label, set())}
    assert not [value for value in new if re.search(r"[0-9a-f]{8}", value)]
    # Nothing else got a label's value by it.
    of_calls = {"backbeat_gateway_requests_total", "backbeat_gateway_request_seconds_bucket"}
    of_calls |= {"backbeat_gateway_request_seconds_count", "backbeat_gateway_request_seconds_sum"}
    assert {key: now[key] for key in now if key[0].startswith("backbeat_gateway") and key[0] not in of_calls} == {
        key: known[key] for key in known if key[0].startswith("backbeat_gateway") and key[0] not in of_calls
    }


class Site(http.server.ThreadingHTTPServer):
    """A client application; an activity named `refuse` it refuses."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), SiteRequest)
        self.url = f"http://127.0.0.1:{self.server_port}"
        #: Paths of the requests so far.
        self.posted_paths = []


class SiteRequest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted_paths.append(self.path)
        refuse = self.path == "/activity" and body["activity"]["name"] == "refuse"
        self.send_response(500 if refuse else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nobody reads it."""


@pytest.fixture
def site():
    """The site of a client application."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_webhooks_are_counted_by_what_they_are_and_what_came_of_them(stack, new_user, site):
    def figures():
        """Of all gateways together: any of them delivers."""
        counters = {family: Counter() for family in (WEBHOOKS, TRIES, WEBHOOK_SECONDS)}
        for figures_of_one in map(scrape, stack.http_urls):
            for family, counted in counters.items():
                counted.update(figures_of_one[family])
        return counters

    before = figures()
    nowhere = f"http://127.0.0.1:{free_port()}"
    shop = new_user(**{f"{kind}_endpoint": f"{site.url}/{kind}" for kind in ("activity", "decision", "notification")})
    other = new_user(activity_endpoint=f"{site.url}/activity", decision_endpoint=f"{nowhere}/decision")
    decision = shop.sent()
    # A gateway that got its partition anew asks first, and does not post what is answered.
    until(lambda: site.posted_paths, "the decision is posted")
    # The engine may not have heard of the other one yet: what is its own is tried until it has.
    of_other = {"name": "act", "mode": "non_blocking", "client_id": other.id, "retry": 100, "retry_interval": 0}
    refused = {"name": "refuse", "mode": "non_blocking", "retry": 0}
    _, known, _ = shop.decide(decision["id"], {"name": "act", "mode": "non_blocking"}, of_other, refused)
    assert shop.say(decision["id"], "completed").status == 200
    other.wait_for(known, "sent_to_client")
    other.wait_for(other.signal(retry=0)["id"], "retries_exhausted")

    def counted():
        after = figures()
        growth = {family: more(before, after, family) for family in before}
        # A scrape may come between the counts of one webhook.
        tries = sum(growth[TRIES].values()) - growth[TRIES].get("decision,unreachable", 0)
        is_settled = sum(growth[WEBHOOKS].values()) >= 7 and min(tries, sum(growth[WEBHOOK_SECONDS].values())) >= 5
        return growth if is_settled else None

    growth = until(counted, "seven webhooks are settled")
    # It was tried until its time was over.
    assert growth[TRIES].pop("decision,unreachable") >= 1
    assert growth == {
        WEBHOOKS: {
            "decision,delivered": 1,
            "decision,unreachable": 1,
            "activity,delivered": 2,
            "activity,refused": 1,
            "notification,delivered": 1,
            "notification,undeliverable": 1,
        },
        TRIES: {"decision,answered": 1, "activity,answered": 2, "activity,refused": 1, "notification,answered": 1},
        WEBHOOK_SECONDS: {"decision": 1, "activity": 3, "notification": 1},
    }
