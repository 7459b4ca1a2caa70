"""Bodies that come in many pieces, read straight into the answer's memory, over plain sockets and TLS."""

import asyncio
import random
import ssl
from contextlib import asynccontextmanager

import pytest

from downloader.earthengine.http import REST_S, ssl_context
from downloader.earthengine.timeouts import Timeouts
from downloader.earthengine.transport import Transport
from downloader.earthengine.wire_error import WireError
from downloader.errors import Cause
from downloader.flow.clock import MonotonicClock
from tests.contract.client.conftest import WireServer, ok, self_signed

LARGE = 3_000_000


@pytest.fixture(params=["plain", "tls"])
async def peer(request, tmp_path, monkeypatch):
    """A server whose script a test writes, and its address."""
    server, context = WireServer(), None
    if request.param == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self_signed(tmp_path))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        ssl_context.cache_clear()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
    yield server
    listening.close()
    ssl_context.cache_clear()


@asynccontextmanager
async def transport():
    made = Transport(clock=MonotonicClock(), connections=4)
    try:
        yield made
    finally:
        await made.aclose()


async def body(transport, peer, **timeouts):
    patient = Timeouts(first_byte_s=20, idle_s=20, body_s=60)
    reply = await transport.send(
        "GET",
        peer.url,
        headers={},
        max_bytes=2 * LARGE,
        timeouts=Timeouts(**timeouts) if timeouts else patient,
    )
    return bytes(reply.body)


def content(number):
    return random.Random(number).randbytes(LARGE + number * 1009)


async def test_many_large_bodies_on_one_connection(peer):
    """Cut anywhere: within the head, after it, one byte before the end."""

    async def script(connection, number):
        answer = ok(content(number))
        cuts = sorted({10, answer.index(b"\r\n\r\n") + 4, number * 70_001, len(answer) - 1})
        for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True):
            await connection.send(answer[start:end])
            await asyncio.sleep(0.002)
        return True

    peer.script = script
    async with transport() as made:
        for number in range(1, 8):
            assert await body(made, peer) == content(number)
            await asyncio.sleep(REST_S + 0.05)
    assert peer.connections == 1


async def test_bodies_side_by_side(peer):
    async def script(connection, number):
        await connection.send(ok(content(int(peer.requests[number - 1][1]["number"]))))
        return True

    async def one(made, number):
        reply = await made.send(
            "GET", peer.url, headers={"number": str(number)}, max_bytes=2 * LARGE, timeouts=Timeouts()
        )
        return bytes(reply.body) == content(number)

    peer.script = script
    async with transport() as made:
        assert all(await asyncio.gather(*(one(made, number) for number in range(12))))


@pytest.mark.parametrize(
    "surplus", [b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad", bytes(700_000)]
)
async def test_what_follows_a_large_body_is_never_used(peer, surplus):
    async def script(connection, number):
        await connection.send(ok(content(number)) + surplus)
        await asyncio.sleep(0.3)
        return True

    peer.script = script
    async with transport() as made:
        for number in range(1, 5):
            assert await body(made, peer) == content(number)
            await asyncio.sleep(0.03 * number)
    assert peer.connections == 4


@pytest.mark.parametrize("keep", [LARGE // 2, LARGE - 1])
async def test_a_large_body_that_ends_early(peer, keep):
    async def script(connection, number):
        whole = ok(content(0))
        await connection.send(whole[: whole.index(b"\r\n\r\n") + 4 + keep])
        return False

    peer.script = script
    async with transport() as made:
        with pytest.raises(WireError) as caught:
            await body(made, peer)
    assert caught.value.cause is Cause.SHORT_BODY


async def test_a_large_body_that_stops(peer):
    """Given up; what comes later on that connection reaches no answer."""
    go_on = asyncio.Event()

    async def script(connection, number):
        if number > 1:
            await connection.send(ok(content(number)))
            return True
        await connection.send(ok(content(0))[: LARGE // 2])
        await go_on.wait()
        await connection.send(ok(content(0))[LARGE // 2 :])
        return True

    peer.script = script
    async with transport() as made:
        with pytest.raises(WireError) as caught:
            await body(made, peer, first_byte_s=20, idle_s=0.3, body_s=60)
        assert caught.value.cause is Cause.STALLED
        go_on.set()
        assert await body(made, peer) == content(2)
    assert peer.connections == 2


async def test_a_reset_in_a_large_body(peer):
    async def script(connection, number):
        await connection.send(ok(content(0))[: LARGE // 2])
        await asyncio.sleep(0.05)
        connection.reset()
        return False

    peer.script = script
    async with transport() as made:
        with pytest.raises(WireError) as caught:
            await body(made, peer)
    assert caught.value.cause is Cause.SHORT_BODY
