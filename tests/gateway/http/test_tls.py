"""HTTPS without a proxy: the context of a certificate, and what is said of one that cannot be used."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from backbeat.compose.drill.security.authority import Authority
from backbeat.gateway.http.server import Server, TlsError, tls_context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


async def answer(_):
    return web.Response(text="done")


async def test_whoever_trusts_the_authority_is_answered(authority):
    runner = web.ServerRunner(Server(answer, body_bytes_max=1_000))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_context(*authority.issue("gateway"))).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with aiohttp.ClientSession() as session:
            trusting = ssl.create_default_context(cafile=authority.ca_file)
            async with session.get(url, ssl=trusting) as response:
                assert await response.text() == "done"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(url)
    finally:
        await runner.cleanup()


def test_without_certificate_and_key_it_is_plain_http():
    assert tls_context(None, None) is None


def encrypted(certificate, key, folder):
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    form = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form))
    return certificate, key


WRONG = {
    "one alone": (lambda certificate, key, folder: (certificate, None), "--http-key-file"),
    "missing": (lambda certificate, key, folder: (folder / "none.pem", key), "No such file"),
    "of another": (lambda certificate, key, folder: (certificate, Authority(folder, "b").issue("b")[1]), "mismatch"),
    "encrypted": (encrypted, "is encrypted"),
}


@pytest.mark.parametrize(("spoil", "reason"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_told(authority, tmp_path, spoil, reason):
    with pytest.raises(TlsError, match="What to do") as refusal:
        tls_context(*spoil(*authority.issue("gateway"), tmp_path))
    assert reason in str(refusal.value)
