"""Options of `backbeat drill`: an installation, plays, and how a run goes."""

from __future__ import annotations

from pathlib import Path

import click

from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.options import Option, add_options, json_option
from backbeat.compose.drill.runs import FOLDER_DEFAULT
from backbeat.compose.local.ports import LOOPBACK

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER_DEFAULT,
    show_default=True,
    help="Where runs are kept.",
)
installation_options = add_options(
    click.option(
        "--topology",
        "topology_file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="An installation of your own, in TOML, instead of one that is started here.",
    ),
    click.option(
        "--units",
        multiple=True,
        metavar="PATTERN",
        help="An installation of your own: this host's units of systemd whose names fit, such as 'backbeat-*'.",
    ),
    click.option(
        "--namespace",
        "namespaces",
        multiple=True,
        metavar="NAME",
        help="An installation of your own: the pods of a Kubernetes namespace, read as your kubeconfig may.",
    ),
    click.option(
        "--metrics",
        metavar="URL",
        help="A Prometheus server that has its metrics, such as http://prometheus:9090.  "
        "[default: the services themselves are asked]",
    ),
)
playbook_option = click.option(
    "--playbook",
    "playbooks",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Plays of your own, in TOML, beside the playbook's.",
)


def _one_address(_: click.Context, __: click.Parameter, value: str) -> str:
    if value in ("0.0.0.0", "::", ""):  # noqa: S104 - nothing listens there
        raise click.BadParameter("gateways cannot post to every address. What to do: give one of this host's.")
    return value


def run_options() -> Option:
    """Options of `run` and `certify`."""
    count = click.IntRange(min=1)
    return add_options(
        folder_option,
        installation_options,
        playbook_option,
        click.option(
            "--per-second",
            type=Number(0.1, 1000),
            default=8.0,
            show_default=True,
            help="Payments that are asked for each second.",
        ),
        click.option("--brokers", type=count, default=3, show_default=True, help="Brokers that are started."),
        click.option("--engines", type=count, default=2, show_default=True, help="Engines that are started."),
        click.option("--gateways", type=count, default=2, show_default=True, help="Gateways that are started."),
        click.option("--workers", type=count, default=2, show_default=True, help="Workers of the load."),
        click.option("--partitions", type=count, default=4, show_default=True, help="Of the topics."),
        click.option(
            "--bootstrap-servers",
            metavar="HOST:PORT,…",
            help="A Kafka that is there: instead of brokers, or that of --topology, --units and --namespace.",
        ),
        click.option(
            "--listen-address",
            metavar="HOST",
            default=LOOPBACK,
            show_default=True,
            callback=_one_address,
            help="This host's address at which the load's endpoint listens and gateways of other hosts post to it.",
        ),
        click.option(
            "--from-wheel",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="A wheel of the version before: engines and gateways begin as it, and rolling-upgrade comes first.",
        ),
        click.option(
            "--key-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The key of which hosts with `run` and `key_file` have a copy.  [default: a new one for each run]",
        ),
        click.option("--seed", type=int, help="Repeats the choice of targets and moments.  [default: a new one]"),
        click.option("--seconds", type=Number(1), help="How long each fault lasts, instead of its play's own time."),
        click.option(
            "--into",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            hidden=True,
            help="The run's folder, which whoever starts it has made.",
        ),
        json_option,
    )
