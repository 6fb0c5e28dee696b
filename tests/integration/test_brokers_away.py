"""An engine whose brokers are away: before its start and while it runs it waits, says so, and goes on by itself."""

import os
import re
import subprocess
import sys

from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.ports import free_port
from backbeat.schemas.kafka import topics
from backbeat.streams.kafka.registration import add_client
from tests.integration.caller import SECONDS_MAX, Caller, node_of
from tests.integration.hand import Hand
from tests.integration.rig import START_SECONDS_MAX, user_of
from tests.streams.observe.scrape import get
from tests.waiting import until

#: Shorter than the outage: whatever has a deadline has passed it. Longer than a busy machine takes to notice one.
COMMIT_SECONDS = 15
AWAY_SECONDS = COMMIT_SECONDS + 4
PARTITIONS = 2


def test_an_engine_waits_for_its_brokers_and_goes_on(tmp_path):
    kafka = KafkaBroker(tmp_path / "kafka", say=lambda _: None)
    port = free_port(avoid=[kafka.port])
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "engine.log"
    environment = {
        **os.environ,
        "BACKBEAT_COMMIT_TIMEOUT_SECONDS": str(COMMIT_SECONDS),
        # A transaction that is open for longer is aborted by the broker: then the engine ends, to begin anew.
        "BACKBEAT_TRANSACTION_TIMEOUT_SECONDS": "600",
        "BACKBEAT_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    }
    command = [sys.executable, "-m", "backbeat.compose", "engine", "--development", "--instance-id", "waits"]
    command += ["--bootstrap-servers", str(kafka.bootstrap_servers), "--data-dir", str(tmp_path / "engine")]
    command += ["--status-port", str(port)]

    def says(text: str) -> bool:
        try:
            return text in get(f"{url}/ready")[1]
        except OSError:
            return False

    def is_ready() -> bool:
        assert engine.poll() is None, log.read_text()
        return says("ok\n") and not says("not ok")

    kafka.start()
    topics.ensure_topics(kafka.bootstrap_servers, PARTITIONS, 1, development=True)
    add_client(kafka.bootstrap_servers, "default", partitions=PARTITIONS)
    kafka.kill()
    with log.open("wb") as output:
        engine = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        until(lambda: "Kafka is waited for: " in log.read_text(), "it says that it waits", START_SECONDS_MAX)
        kafka.start()
        until(is_ready, "it is ready", START_SECONDS_MAX)
        kafka.kill()
        until(lambda: says("Kafka does not answer since"), "it says that Kafka is away")

        def away_for() -> int:
            match = re.search(r"does not answer since (\d+) s", get(f"{url}/ready")[1])
            return int(match[1]) if match else 0

        until(lambda: away_for() >= AWAY_SECONDS, "it is away for longer than a commit may take")
        assert get(f"{url}/live")[0] == 200
        kafka.start()
        until(is_ready, "it is ready again", START_SECONDS_MAX)
        caller = Caller(kafka.bootstrap_servers, user_of(kafka.bootstrap_servers), PARTITIONS)
        hand = Hand(caller, "default", lambda _: [])
        try:
            sent = caller.signal(b'"after"')
            caller.send(sent)

            def is_handed_out() -> bool:
                assert engine.poll() is None, log.read_text()
                return bool(hand.of(node_of(sent)))

            until(is_handed_out, "its activity comes", SECONDS_MAX)
        finally:
            hand.close()
            caller.close()
        # Once in ten seconds: a try a connection would be hundreds of lines.
        assert log.read_text().count("Kafka is waited for: ") < 30
    finally:
        engine.kill()
        engine.wait()
        kafka.kill()
