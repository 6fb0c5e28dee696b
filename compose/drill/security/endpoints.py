"""Attacks by endpoints: a client application has the gateway post to where it may not, by a name that leads there."""

from __future__ import annotations

from collections.abc import Callable

from backbeat.compose.drill.security.attack import Attack, expect
from backbeat.compose.drill.security.calls import signal
from backbeat.compose.drill.security.installation import LURED, PROBER, SecuredInstallation
from backbeat.compose.drill.security.trap import ELSEWHERE
from backbeat.compose.drill.waiting import until

_POST_SECONDS_MAX = 120.0
_OUTSIDE = "is outside of the networks that endpoints may be in"
#: Of loopback, where the trap is.
_NETWORK = "127.0.0.0/8"


def _errors(installation: SecuredInstallation, client: str) -> str:
    """Errors of a signal of this client application that is not tried again, once it has some."""
    node = signal(installation, client, retry=0)
    texts: list[str] = []
    with installation.http(client) as caller:

        def has_failed() -> bool:
            answer = caller.get(f"/activities/{node['id']}/errors")
            texts.append(answer.text)
            return answer.is_success and bool(answer.json())

        expect(until(has_failed, _POST_SECONDS_MAX), f"no error within {_POST_SECONDS_MAX:.0f} s: {texts[-1:]}")
    installation.outputs[f"errors of {client}"] = texts[-1]
    return texts[-1]


def _refused(client: str, *addresses: str) -> Callable[[SecuredInstallation], str]:
    """The check that nothing is posted to a client's endpoint, whose host is found at one of these addresses."""

    def make(installation: SecuredInstallation) -> str:
        errors = _errors(installation, client)
        expect(not installation.trap.paths, f"the endpoint was posted to: {installation.trap.paths}")
        expect(
            any(f"{address} {_OUTSIDE}" in errors for address in addresses), f"it fails for another reason: {errors}"
        )
        return errors

    return make


def _named(installation: SecuredInstallation) -> str:
    """The same endpoint, once its network is named: it is posted to, and where it leads on to is not asked."""
    installation.name_network(_NETWORK)
    errors = _errors(installation, LURED)
    paths = installation.trap.paths
    expect("/decision" in paths, f"with its network named the endpoint is not posted to: {errors}")
    expect(ELSEWHERE not in paths, f"a redirect was followed: {paths}")
    return f"with {_NETWORK} named the endpoint gets {paths}, and its redirect is not followed: {errors}"


_NETWORKS = "the gateway connects to the networks that are meant alone, checked after the look-up of the name"
ATTACKS = (
    Attack("endpoints", "webhook to a private address by a name", _NETWORKS, _refused(LURED, "127.0.0.1", "::1")),
    Attack(
        "endpoints",
        "webhook to a metadata service",
        "the gateway connects to no link-local address and no metadata service",
        _refused(PROBER, "169.254.169.254"),
    ),
    Attack("endpoints", "redirect", "redirects are not followed, also within networks that are named", _named),
)
