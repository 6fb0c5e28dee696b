"""Flooder, a process of its own: a client application that signals by records and by calls, at the lowest priority.

    python -m backbeat.compose.drill.faults.flooder ORDER

A client application that floods has processors of its own. Here it shares them with those whom it floods: it takes
processor time that nobody else wants, and tells at which rates it has signalled. Its token for the gateways is in the
environment (BACKBEAT_TOKEN): everybody may read a command line. SIGTERM: it ends, once none of its records is on its
way, and says so in a line of JSON. A gateway that does not let it in ends it at once.
"""

from __future__ import annotations

import http
import http.client
import os
import signal
import sys
import threading
import time
import urllib.parse
import uuid
from collections import Counter

import msgspec
from confluent_kafka import Producer

from backbeat.compose.drill.load.payments import TOKEN_VARIABLE
from backbeat.schemas.kafka.security import Brokers, connection
from backbeat.schemas.kafka.topics import signals_topic
from backbeat.schemas.requests.decoding import from_json

READY_LINE = "flooder ready"
REFUSED_PREFIX = "refused: "
FLUSH_SECONDS = 30.0

_NICE = 19
_CALL_SECONDS_MAX = 30.0
#: Pause of a caller whom a gateway does not answer.
_PAUSE_SECONDS = 0.5
_TURN_SECONDS = 0.05
#: Answers to a client application that is not let in: whatever it asks for.
_NOT_LET_IN = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN)
_WORKFLOW = "Flood"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Order to a flooder: where it signals, as whom, and how often."""

    bootstrap_servers: str
    #: without encryption, whatever the environment says
    plain: bool
    client: str
    client_id: str
    #: records
    per_second: float
    #: of calls, each the next one as soon as it is answered
    callers: int
    urls: list[str]

    @property
    def servers(self) -> str:
        """Addresses of the brokers."""
        return Brokers(self.bootstrap_servers) if self.plain else self.bootstrap_servers


class Attained(msgspec.Struct, kw_only=True):
    """Records and calls of a flood, and the time that it took."""

    seconds: float
    records: int
    #: answers to calls, by status or error
    answers: dict[str, int]

    def __str__(self) -> str:
        answers = ", ".join(f"{status} {count} times" for status, count in sorted(self.answers.items())) or "none"
        rates = [count / self.seconds for count in (self.records, sum(self.answers.values()))]
        return (
            f"{self.records} records, {rates[0]:.0f} a second; answers to calls: {answers}; {rates[1]:.0f} a second; "
            "of processor time only what nobody else wanted"
        )


class Flooder:
    """The client application."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._ending = threading.Event()
        self._answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        #: of a gateway that did not let it in; empty: none
        self.refusal = ""

    def end(self) -> None:
        """Ask for nothing new."""
        self._ending.set()

    def run(self) -> Attained:
        """Signal until the end."""
        order = self._order
        producer = Producer({**connection(order.servers), "message.timeout.ms": 600_000, "log_level": 0})
        callers = [
            threading.Thread(target=self._call, args=(order.urls[number % len(order.urls)],), daemon=True)
            for number in range(order.callers)
        ]
        for caller in callers:
            caller.start()
        print(READY_LINE, flush=True)
        began_at, sent = time.monotonic(), 0
        while not self._ending.wait(_TURN_SECONDS):
            sent = self._produce(producer, sent, (time.monotonic() - began_at) * order.per_second)
        attained = Attained(seconds=time.monotonic() - began_at, records=sent, answers=dict(self._answers))
        # What is not on its way yet would arrive behind the end that is deleted to.
        producer.purge(in_queue=True, in_flight=False)
        producer.flush(FLUSH_SECONDS)
        return attained

    def _produce(self, producer: Producer, sent: int, due: float) -> int:
        """Write the records that are due; the count of all so far."""
        order = self._order
        while sent < due and not self._ending.is_set():
            record = {"workflow": _WORKFLOW, "subject": uuid.uuid4().hex, "decider": _WORKFLOW, "signal": _WORKFLOW}
            try:
                producer.produce(signals_topic(order.client), msgspec.json.encode(record))
            except BufferError:
                # More than Kafka takes: that is a flood, too.
                break
            sent += 1
        producer.poll(0)
        return sent

    def _call(self, url: str) -> None:
        """Call until the end; the next call as soon as the one before is answered."""
        address = urllib.parse.urlsplit(url)
        headers = {"Client-Id": self._order.client_id, "Content-Type": "application/json"}
        if token := os.environ.get(TOKEN_VARIABLE):
            headers["Authorization"] = f'Token token="{token}"'
        connection: http.client.HTTPConnection | None = None
        while not self._ending.is_set():
            body = {"name": _WORKFLOW, "subject": uuid.uuid4().hex, "decider": _WORKFLOW}
            try:
                connection = connection or http.client.HTTPConnection(address.netloc, timeout=_CALL_SECONDS_MAX)
                connection.request("POST", "/workflows", msgspec.json.encode(body), headers)
                response = connection.getresponse()
                text = response.read().decode(errors="replace")
                status = str(response.status)
                if response.status in _NOT_LET_IN:
                    self.refusal = f"{url} refuses the token of the client {self._order.client}: {status} {text[:200]}"
                    self.end()
            except (OSError, http.client.HTTPException) as error:
                status, connection = type(error).__name__, None
                self._ending.wait(_PAUSE_SECONDS)
            with self._lock:
                self._answers[status] += 1


def main() -> None:
    """Run it until SIGTERM."""
    flooder = Flooder(from_json(sys.argv[1].encode(), Order))
    signal.signal(signal.SIGTERM, lambda *_: flooder.end())
    os.nice(_NICE)
    attained = flooder.run()
    if flooder.refusal:
        print(f"{REFUSED_PREFIX}{flooder.refusal}", flush=True)
        sys.exit(1)
    print(msgspec.json.encode(attained).decode(), flush=True)


if __name__ == "__main__":
    main()
