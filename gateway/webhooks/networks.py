"""Networks in which clients' endpoints may be: checked at every connection, after the host's name was looked up.

Without that a client's endpoint, or whoever answers for its name, could have the gateway post to what only the gateway
reaches: the metadata service of a cloud, a database's port, an administrator's page.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass, field
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Family, type, protocol, name and address of a socket, as `getaddrinfo` has them.
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str | int | bytes, ...]]

ANY, PUBLIC = "any", "public"
#: Metadata services outside of the link-local networks: Amazon's and Google's by IPv6, Alibaba's, Oracle's, Azure's.
_METADATA = {
    ipaddress.ip_address(text)
    for text in (
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    )
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Where IPv4 addresses stand in addresses of a network's own translator is its own matter.
_NAT64_OF_NETWORKS = ipaddress.ip_network("64:ff9b:1::/48")


class NetworksError(ValueError):
    """A setting names no network."""


class ForbiddenAddressError(OSError):
    """An endpoint is where none may be."""

    def __init__(self, address: str, networks: EndpointNetworks) -> None:
        super().__init__(
            errno.EACCES,
            f"{address} is outside of the networks that endpoints may be in (--endpoint-networks {networks})",
        )


@dataclass(frozen=True)
class EndpointNetworks:
    """Networks that endpoints may be in.

    `any` is every one but link-local addresses, metadata services, multicast, and addresses of nobody; `public` is what
    the Internet reaches. A network that is named is allowed whatever is in it.
    """

    words: frozenset[str] = frozenset({ANY})
    networks: tuple[Network, ...] = field(default=())

    @classmethod
    def of(cls, text: str) -> EndpointNetworks:
        """Networks of a setting: `any`, `public`, 10.20.0.0/16, several with commas between. NetworksError."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        words = frozenset(part for part in parts if part in {ANY, PUBLIC})
        try:
            networks = tuple(ipaddress.ip_network(part) for part in parts if part not in words)
        except ValueError as error:
            raise NetworksError(f"{error}. What to do: give any, public, or networks such as 10.20.0.0/16") from error
        if not parts:
            raise NetworksError("no network is named. What to do: give any, public, or networks such as 10.20.0.0/16")
        return cls(words, networks)

    def __str__(self) -> str:
        return ",".join([*sorted(self.words), *map(str, self.networks)])

    def allows(self, text: str) -> bool:
        """True if an endpoint may have this address."""
        return _allows(self, text)

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Socket for a connection to an endpoint. ForbiddenAddressError."""
        family, kind, protocol, _, address = info
        if not self.allows(str(address[0])):
            raise ForbiddenAddressError(str(address[0]), self)
        return socket.socket(family=family, type=kind, proto=protocol)


EVERYWHERE = EndpointNetworks()


@lru_cache(maxsize=1024)
def _allows(networks: EndpointNetworks, text: str) -> bool:
    """`EndpointNetworks.allows`. To look through the networks costs a tenth of a connection, and addresses are few."""
    address = _embedded(ipaddress.ip_address(text.partition("%")[0]))
    if any(address in network for network in networks.networks):
        return True
    if _is_forbidden(address):
        return False
    return ANY in networks.words or (PUBLIC in networks.words and _is_public(address))


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    """True for an address of the Internet: none of the old IPv6 networks of sites, which Python calls global."""
    is_of_site = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not address.is_reserved and not is_of_site


def _is_forbidden(address: Address) -> bool:
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_reserved and not address.is_private)
        or address in _METADATA
        or address in _NAT64_OF_NETWORKS
        or str(address) == "255.255.255.255"
    )
