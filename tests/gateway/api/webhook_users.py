"""Imports users, as `backbeat user import -`, and waits until the gateways read their topics.

A scenario with a deadline of a second waits for a webhook that is not posted once the deadline has passed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from backbeat.gateway.webhooks.consumer import GROUP
from backbeat.schemas.kafka.topics import activities_topic

_ASK_SECONDS = 120.0
_WAIT_SECONDS_MAX = 300.0
_LOOK_SECONDS = 0.1


def main(bootstrap_servers: str) -> int:
    """Import the users on standard input; the command's answer goes to standard output."""
    users = sys.stdin.read()
    command = [sys.executable, "-m", "backbeat.compose", "user", "import", "-"]
    imported = subprocess.run(
        [*command, "--bootstrap-servers", bootstrap_servers],
        input=users,
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    if imported.returncode:
        return imported.returncode
    wait_for({activities_topic(user["name"]) for user in json.loads(users)}, bootstrap_servers)
    sys.stdout.write(imported.stdout)
    return 0


def wait_for(topics: set[str], bootstrap_servers: str) -> None:
    """Wait until all partitions of these topics are assigned to gateways. TimeoutError."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    known = admin.list_topics(timeout=_ASK_SECONDS).topics
    left = {(topic, partition) for topic in topics for partition in known[topic].partitions}
    ends_at = time.monotonic() + _WAIT_SECONDS_MAX
    while True:
        group = admin.describe_consumer_groups([GROUP], request_timeout=_ASK_SECONDS)[GROUP].result()
        places = [place for member in group.members for place in member.assignment.topic_partitions]
        missing = left - {(place.topic, place.partition) for place in places}
        if not missing and group.state is ConsumerGroupState.STABLE:
            return
        if time.monotonic() > ends_at:
            raise TimeoutError(f"no gateway reads {sorted(missing)}; the group is {group.state}")
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
