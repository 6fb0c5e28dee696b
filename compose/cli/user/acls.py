"""`backbeat acls`: the rights that a part needs at the brokers, shown or given."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.exit_codes import CommandError
from backbeat.compose.cli.options import application_option, bootstrap_option, json_option
from backbeat.schemas.kafka.rights import Part, rights_of

if TYPE_CHECKING:
    from backbeat.schemas.kafka.rights import Right

_FLAGS = {"TOPIC": "--topic", "GROUP": "--group", "TRANSACTIONAL_ID": "--transactional-id"}


@click.command(
    epilog="""\b
Examples:
  backbeat acls engine --principal User:engine                    what kafka-acls.sh must be given
  backbeat acls worker --client shop --principal User:shop --apply --bootstrap-servers kafka-1:9093
  backbeat acls service --client shop --principal User:shop-web --json

Parts: engine; gateway; console (a gateway with a console, or one that people call); projection; worker, share-worker,
service (of one client application: --client); caller (it uses the SDK's client); operator.
"""
)
@click.argument("part", type=click.Choice([part.value for part in Part]), metavar="PART")
@click.option("--principal", required=True, metavar="User:NAME", help="Who gets them, as the brokers call it.")
@click.option("--client", metavar="NAME", help="The client application of a worker or a service.")
@click.option("--apply", "is_applied", is_flag=True, help="Give the rights; such as are there already stay.")
@bootstrap_option
@application_option
@json_option
def acls(
    part: str,
    principal: str,
    client: str | None,
    bootstrap_servers: str,
    application_id: str,
    *,
    is_applied: bool,
    as_json: bool,
) -> None:
    """Show, or give with --apply, the rights (ACLs) that a PART needs at Kafka, and no more.

    A worker may write commands, and whoever may do that may do everything to everybody's workflows: give a client that
    is not trusted a service's rights, or a token at a gateway.
    """
    from backbeat.compose.cli.show.printing import emit

    kind = Part(part)
    if kind.is_of_client != (client is not None):
        raise click.UsageError(
            f"A {part} is of a client: give --client." if client is None else f"A {part} is nobody's."
        )
    try:
        rights = rights_of(kind, client or "", application_id)
    except ValueError as error:
        raise CommandError(f"{error}.") from error
    if is_applied:
        _apply(bootstrap_servers, principal, rights)
    for right in rights:
        if as_json:
            emit({"principal": principal, "applied": is_applied, **right._asdict()})
        else:
            click.echo(_line(principal, right))


def _line(principal: str, right: Right) -> str:
    """Arguments of Kafka's own tool."""
    words = ["--add", "--allow-principal", principal]
    for operation in right.operations:
        words += ["--operation", operation]
    words += ["--cluster"] if right.resource == "BROKER" else [_FLAGS[right.resource], right.name]
    words += ["--resource-pattern-type", "prefixed"] if right.is_prefix else []
    return shlex.join(words)


def _apply(bootstrap_servers: str, principal: str, rights: list[Right]) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, reach, result

    def binding(right: Right, operation: str) -> Any:
        pattern = ResourcePatternType.PREFIXED if right.is_prefix else ResourcePatternType.LITERAL
        kind, permission = ResourceType[right.resource], AclPermissionType.ALLOW
        return AclBinding(kind, right.name, pattern, principal, "*", AclOperation[operation], permission)

    bindings = [binding(right, operation) for right in rights for operation in right.operations]
    admin = reach(bootstrap_servers)  # its answers come while it is held
    for future in admin.create_acls(bindings, request_timeout=ASK_SECONDS_MAX).values():
        try:
            result(future)
        except KafkaException as error:
            raise CommandError(
                f"The rights of {principal} cannot be given: {error.args[0].str()}. What to do: see that the brokers "
                "have an authorizer (authorizer.class.name), and that you may alter the cluster."
            ) from error
