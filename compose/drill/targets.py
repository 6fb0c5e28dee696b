"""Targets and arguments of a play on an installation: who leads, who coordinates, what a share of the load is."""

from __future__ import annotations

import random
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.compose.drill.plays.play import SAFE, Play
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology, TopologyError
from backbeat.compose.drill.watch.figures import role_of
from backbeat.schemas.kafka.groups import describe_group
from backbeat.schemas.kafka.security import Brokers, connection

_ASK_SECONDS = 30.0


def choose_targets(play: Play, topology: Topology, chance: random.Random) -> list[Service]:
    """The targets of a play, now. TopologyError: there are none here, or a figure of its bounds is not."""
    # Those that every play has count where they are seen.
    figures = {bound.figure for bound in play.bounds} - {bound.figure for bound in SAFE}
    for role, figure in {role_of(figure): figure for figure in sorted(figures)}.items():
        if role and not any(service.metrics_url for service in topology.of_role(role)):
            raise TopologyError(f"its bound of {figure} is never seen here: no service of a role {role!r} has metrics.")
    chosen = [each for selector in play.targets.split(",") for each in _choose(selector.strip(), topology, chance)]
    return list({target.name: target for target in chosen}.values())


def _choose(selector: str, topology: Topology, chance: random.Random) -> list[Service]:
    kind, _, name = selector.partition(":")
    if kind not in ("leader", "coordinator"):
        return topology.choose(selector, chance)
    brokers = topology.of_role("broker")
    if not brokers:
        raise TopologyError("the topology has no brokers.")
    admin = AdminClient({**connection(topology.bootstrap_servers), "log_level": 0})
    try:
        if kind == "leader":
            leaders = [
                each.leader for each in admin.list_topics(name, timeout=_ASK_SECONDS).topics[name].partitions.values()
            ]
            node = max(set(leaders), key=leaders.count)
        else:
            node = describe_group(topology.bootstrap_servers, name, _ASK_SECONDS).coordinator
    except KafkaException as error:
        raise TopologyError(f"Kafka does not say which broker is the {kind} of {name}: {error}.") from error
    fitting = [broker for broker in brokers if broker.name.rpartition("-")[2] == str(node)]
    if not fitting:
        raise TopologyError(f"the {kind} of {name} is the node {node}; no broker is named so (broker-{node}).")
    return fitting


def make_arguments(play: Play, topology: Topology, per_second: float) -> dict[str, Any]:
    """The arguments of a play's fault: multiples of the load become numbers."""
    servers = topology.bootstrap_servers
    # Security that is not of the environment does not go into an order: there is none where Kafka was started here.
    arguments: dict[str, Any] = {
        **play.arguments,
        "bootstrap_servers": str(servers),
        "plain": isinstance(servers, Brokers),
    }
    if "times" in arguments:
        arguments["value"] = per_second * float(arguments.pop("times"))
    if "per_payment" in arguments:
        arguments["per_second"] = per_second * float(arguments.pop("per_payment"))
    return arguments
