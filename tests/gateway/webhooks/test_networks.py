"""Where an endpoint may be, after its name was looked up."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from backbeat.gateway.webhooks.networks import EndpointNetworks, NetworksError
from backbeat.gateway.webhooks.webhook import reason_of, shown_url

#: Nobody's endpoint, whatever name leads there.
NEVER = (
    "169.254.169.254",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "::169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "0.0.0.0",  # noqa: S104 - it is asked for, not listened on
    "::",
    "224.0.0.1",
    "255.255.255.255",
)
PRIVATE = (
    "127.0.0.1",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "fd12::1",
    "100.64.0.1",
    "::ffff:10.1.2.3",
    "fec0::1",
)
WORLD = ("93.184.216.34", "2606:2800:220:1::1")


@pytest.mark.parametrize("setting", ["any", "public", "public,10.0.0.0/8", "10.0.0.0/8"])
def test_no_endpoint_is_where_a_cloud_keeps_its_metadata(setting):
    assert [text for text in NEVER if EndpointNetworks.of(setting).allows(text)] == []


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("any", (*PRIVATE, *WORLD)),
        ("public", WORLD),
        ("public, 10.0.0.0/8", ("10.1.2.3", "::ffff:10.1.2.3", *WORLD)),
        ("127.0.0.0/8,::1/128", ("127.0.0.1", "::1")),
    ],
)
def test_the_setting_says_where_they_may_be(setting, allowed):
    networks = EndpointNetworks.of(setting)
    assert {text for text in (*PRIVATE, *WORLD) if networks.allows(text)} == set(allowed)


def test_what_is_named_is_allowed_whatever_it_is():
    assert EndpointNetworks.of("169.254.10.0/24").allows("169.254.10.1")


@pytest.mark.parametrize("text", ["", " , ", "private", "10.0.0.1/8", "shop.example"])
def test_a_setting_that_names_no_network_is_refused(text):
    with pytest.raises(NetworksError, match="What to do"):
        EndpointNetworks.of(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://shop:secret@shop.example/a?b=@", "http://shop.example/a?b=@"),
        ("http://shop:se@cret@[::1]:80/", "http://[::1]:80/"),
        ("http://shop.example/a@b", "http://shop.example/a@b"),
    ],
)
def test_a_password_in_an_endpoint_is_not_shown(url, shown):
    assert shown_url(url) == shown


class Rebinding(AbstractResolver):
    """A name server that gives another address each time it is asked."""

    def __init__(self, *addresses):
        self._addresses = list(addresses)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        address = self._addresses.pop(0)
        return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


async def test_a_name_that_leads_elsewhere_the_next_time_is_refused_then(aiohttp_port):
    networks = EndpointNetworks.of("127.0.0.2/32")
    connector = aiohttp.TCPConnector(
        resolver=Rebinding("127.0.0.2", "127.0.0.1"),
        use_dns_cache=False,
        force_close=True,
        socket_factory=networks.open_socket,
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"http://shop.example:{aiohttp_port}/"
        async with session.post(url) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.post(url)
    assert reason_of(refused.value) == (
        "127.0.0.1 is outside of the networks that endpoints may be in (--endpoint-networks 127.0.0.2/32)"
    )


@pytest.fixture
async def aiohttp_port():
    """A server on all addresses of loopback."""
    from aiohttp import web

    async def answer(_):
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    listening = socket.create_server(("0.0.0.0", 0))  # noqa: S104 - 127.0.0.1 and 127.0.0.2
    await web.SockSite(runner, listening).start()
    yield listening.getsockname()[1]
    await runner.cleanup()
