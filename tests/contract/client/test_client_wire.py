"""What a network does to answers (faults 19 to 31), over a real socket, seen through the real client."""

import asyncio
import gzip
import random
import socket
import zlib

import numpy as np
import pytest

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.http import REST_S, ssl_context
from downloader.earthengine.pixels import RestPixelSource
from downloader.earthengine.timeouts import Timeouts
from downloader.errors import Action, Cause, JobError, StoppedError, TileError
from downloader.flow.clock import MonotonicClock
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget, RetryPolicy, persist
from downloader.flow.shared_limiter import JobLimiter
from tests.contract.client.conftest import (
    GOOD,
    HastyClock,
    client_of,
    npy,
    ok,
    refusal,
    self_signed,
    small_pixels,
    small_request,
)


async def problem(source):
    with pytest.raises(TileError) as caught:
        await source.fetch(small_request())
    assert "\n" not in str(caught.value)
    return caught.value.problem


def whole(pixels):
    return pixels.tobytes() == small_pixels().tobytes()


def always(*pieces, keep=False):
    """A script that sends the same pieces to every request."""

    async def script(connection, number):
        for piece in pieces:
            await connection.send(piece)
        return keep

    return script


async def test_a_good_answer_on_a_kept_connection(wire, source):
    wire.script = always(ok(), keep=True)
    for _ in range(3):
        assert whole(await source.fetch(small_request()))
        await asyncio.sleep(REST_S + 0.05)
    assert wire.connections == 1
    line, headers, _ = wire.requests[0]
    assert line == "POST /v1/projects/p/assets/a:getPixels HTTP/1.1"
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"
    assert "gzip" not in headers["user-agent"]
    assert "authorization" not in headers
    assert "x-goog-user-project" not in headers


async def test_an_answer_in_tiny_pieces_and_one_in_chunks(wire, source):
    answers = [
        [ok()[i : i + 500] for i in range(0, len(ok()), 500)],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
        + [b"%x\r\n%s\r\n" % (len(GOOD[i : i + 700]), GOOD[i : i + 700]) for i in range(0, len(GOOD), 700)]
        + [b"0\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\n\r\n", GOOD],
    ]

    async def script(connection, number):
        for piece in answers[number - 1]:
            await connection.send(piece)
            await asyncio.sleep(0)
        return number < 3

    wire.script = script
    for _ in answers:
        assert whole(await source.fetch(small_request()))


async def test_a_closed_idle_connection_is_replaced_silently(wire, source):
    """Fault 24: the server answers, then closes while the connection idles."""

    async def script(connection, number):
        await connection.send(ok())
        return False

    wire.script = script
    for _ in range(5):
        assert whole(await source.fetch(small_request()))


async def test_a_connection_closed_at_the_next_request_is_told_as_such(wire, source):
    """The client's request and the server's close cross each other: repeated at once, in a turn of the limiter."""
    seen = []

    async def script(connection, number):
        seen.append(id(connection))
        if seen.count(id(connection)) == 2:
            return False
        await connection.send(ok())
        return True

    wire.script = script
    assert whole(await source.fetch(small_request()))
    await asyncio.sleep(REST_S + 0.05)
    assert (await problem(source)).cause is Cause.IDLE_CONNECTION
    assert len(wire.requests) == 2
    assert whole(await source.fetch(small_request()))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_reset_before_any_byte_is_told_at_once(wire, source, method):
    """Also of a GET, which the library would repeat by itself, past the limiter."""

    async def script(connection, number):
        if number == 1:
            await connection.send(ok())
            return True
        connection.reset()
        return False

    wire.script = script
    bounds = {"max_bytes": 10**6, "timeouts": Timeouts()}
    await source.client.exchange(method, wire.url, **bounds)
    for cause in (Cause.IDLE_CONNECTION, Cause.RESET):
        await asyncio.sleep(REST_S + 0.05)
        with pytest.raises(TileError) as caught:
            await source.client.exchange(method, wire.url, **bounds)
        assert (caught.value.problem.action, caught.value.problem.cause) == (Action.RETRY, cause)
    assert len(wire.requests) == 3


@pytest.mark.parametrize("late_s", [0.0, 0.02])
async def test_an_answer_sent_twice_is_never_that_of_the_next_request(wire, source, late_s):
    """Size, shape, names and types of the surplus answer fit the next request: only its place would be wrong."""

    def pixels(number):
        made = small_pixels()
        made["B2"] = number
        return npy(made)

    async def script(connection, number):
        answer = ok(pixels(number))
        if late_s:
            await connection.send(answer)
            await asyncio.sleep(late_s)
            await connection.send(answer)
        else:
            await connection.send(answer + answer)
        return True

    wire.script = script
    for number in range(1, 31):
        fetched = await source.fetch(small_request())
        assert (fetched["B2"] == number).all()
        await asyncio.sleep(0.001 * (number % 7) ** 2)


async def test_more_bytes_than_the_answer_has_are_never_used(wire, source):
    """What follows the answer in the same connection ends it, whatever it is."""

    async def script(connection, number):
        await connection.send(ok() + b"HTTP/1.1 200 OK\r\ncontent-le")
        await asyncio.sleep(0.3)
        return False

    wire.script = script
    for _ in range(3):
        assert whole(await source.fetch(small_request()))


async def test_a_reset_within_the_head(wire, source):
    async def script(connection, number):
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-le")
        connection.reset()
        return False

    wire.script = script
    assert (await problem(source)).action is Action.RETRY


@pytest.mark.parametrize("keep", [1, 100, len(ok()) - 1])
async def test_a_body_cut_by_the_servers_close(wire, source, keep):
    head = ok().index(b"\r\n\r\n") + 4
    wire.script = always(ok()[: max(head, keep)])
    found = await problem(source)
    assert (found.action, found.cause) == (Action.RETRY, "short body")
    assert len(wire.requests) == 1


async def test_a_reset_within_the_body(wire, source):
    async def script(connection, number):
        await connection.send(ok()[:2000])
        await asyncio.sleep(0.02)
        connection.reset()
        return False

    wire.script = script
    assert (await problem(source)).cause == "short body"


async def test_a_chunked_body_cut(wire, source):
    wire.script = always(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n" % (1000, GOOD[:1000])
    )
    found = await problem(source)
    assert (found.action, found.cause) == (Action.RETRY, "short body")


async def test_a_body_without_any_length_cut(wire, source):
    wire.script = always(b"HTTP/1.0 200 OK\r\n\r\n", GOOD[:-1])
    assert (await problem(source)).cause == "bad NPY"


async def hang(connection, number):
    await connection.reader.read()
    return False


async def test_silence_before_the_head_is_cut(wire, source):
    wire.script = hang
    found = await problem(source)
    assert (found.action, found.cause) == (Action.RETRY, "no first byte")
    assert "within 0.3 s" in found.message


async def test_silence_after_the_head_is_cut(wire, source):
    async def script(connection, number):
        await connection.send(ok()[:1000])
        return await hang(connection, number)

    wire.script = script
    found = await problem(source)
    assert found.cause == "stalled"
    assert "sent nothing for 0.15 s" in found.message


async def test_a_drip_is_cut(wire, source):
    async def script(connection, number):
        for byte in ok():
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.01)
        return False

    wire.script = script
    found = await problem(source)
    assert found.cause in {"too slow", "no first byte"}
    assert found.action is Action.RETRY


async def test_a_drip_of_the_body_is_cut(wire, source):
    async def script(connection, number):
        head, _, body = ok().partition(b"\r\n\r\n")
        await connection.send(head + b"\r\n\r\n")
        for byte in body:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.01)
        return False

    wire.script = script
    assert (await problem(source)).cause == "too slow"


async def test_a_cut_request_frees_its_connection(wire, source):
    """40 requests that are cut must not use up the pool."""
    wire.script = hang
    results = await asyncio.gather(
        *(source.fetch(small_request()) for _ in range(60)), return_exceptions=True
    )
    assert all(isinstance(result, TileError) for result in results)
    wire.script = always(ok(), keep=True)
    assert whole(await source.fetch(small_request()))


async def test_a_cancelled_request_is_gone(wire, source):
    arrived = asyncio.Event()

    async def script(connection, number):
        arrived.set()
        return await hang(connection, number)

    wire.script = script
    task = asyncio.create_task(source.fetch(small_request()))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_redirect_is_not_followed(wire):
    """Fault 26: the other host must see nothing at all, least of all the token."""
    other = await asyncio.start_server(lambda r, w: others.append(r), "127.0.0.1", 0)
    others = []
    port = other.sockets[0].getsockname()[1]
    wire.script = always(
        refusal(302, b"", f"location: http://localhost:{port}/steal?key=abcdefgh"), keep=True
    )
    from downloader.earthengine.auth.find import AuthSettings

    auth = AuthSettings("credentials", static_credentials())
    async with client_of(wire.url, auth=auth) as client:
        found = await problem(RestPixelSource(client))
    other.close()
    assert (found.action, found.cause) == (Action.RETRY, "redirect")
    assert f"localhost:{port}" in found.message
    assert "abcdefgh" not in found.message
    assert others == []
    assert wire.requests[0][1]["authorization"] == "Bearer ya29.static"


def static_credentials():
    from google.oauth2.credentials import Credentials

    return Credentials("ya29.static")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_an_answer_compressed_unasked_is_inflated(wire, source, encoding, pack):
    wire.script = always(ok(pack(GOOD), f"content-encoding: {encoding}"))
    assert whole(await source.fetch(small_request()))


@pytest.mark.parametrize(
    ("body", "encoding", "cause"),
    [
        (gzip.compress(b"\0" * 50_000_000), "gzip", "too large"),
        (gzip.compress(GOOD)[:-20], "gzip", "short body"),
        (GOOD, "gzip", "bad encoding"),
        (GOOD, "br", "bad encoding"),
        (GOOD, "gzip, gzip", "bad encoding"),
    ],
)
async def test_compressed_answers_that_are_refused(wire, source, body, encoding, cause):
    wire.script = always(ok(body, f"content-encoding: {encoding}"))
    found = await problem(source)
    assert (found.action, found.cause) == (Action.RETRY, cause)


async def test_an_oversized_answer_is_refused_unread(wire, source):
    wire.script = always(b"HTTP/1.1 200 OK\r\ncontent-length: 900000000\r\n\r\n")
    assert (await problem(source)).cause == "too large"


async def test_an_endless_answer_is_cut(wire, source):
    async def script(connection, number):
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(1000):
            await connection.send(b"1000\r\n" + b"\0" * 0x1000 + b"\r\n")
        return False

    wire.script = script
    assert (await problem(source)).cause == "too large"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "HTML under 200"),
        (b'{"error": {"code": 500, "message": "Internal error encountered.", "status": "INTERNAL"}}', "JSON under 200"),
        (b"", "bad NPY"),
        (GOOD[:-1], "bad NPY"),
        (GOOD + b"\0", "bad NPY"),
        (b"\x94" + GOOD[1:], "bad NPY"),
        (npy(small_pixels(32)), "bad NPY"),
        (npy(small_pixels().astype([("B2", "<i2")])), "bad NPY"),
        (npy(small_pixels().astype([("B3", "<u2")])), "bad NPY"),
        (npy(np.asfortranarray(small_pixels())), "bad NPY"),
    ],
)  # fmt: skip
async def test_a_success_without_the_pixels_is_refused(wire, source, body, cause):
    wire.script = always(ok(body), keep=True)
    found = await problem(source)
    assert (found.action, found.cause, found.status) == (Action.RETRY, cause, 200)


async def test_big_endian_is_put_right(wire, source):
    wire.script = always(ok(npy(small_pixels().astype([("B2", ">u2")]))))
    assert whole(await source.fetch(small_request()))


@pytest.mark.parametrize("junk", [b"\0\0\0\0\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"])  # fmt: skip
async def test_what_is_not_http_is_no_crash(wire, source, junk):
    wire.script = always(junk)
    assert (await problem(source)).action is Action.RETRY


async def test_an_error_with_an_endless_page_is_read_only_so_far(wire, source):
    async def script(connection, number):
        await connection.send(b"HTTP/1.1 502 Bad\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10_000):
            await connection.send(b"1000\r\n" + b"<p>no</p>".ljust(0x1000) + b"\r\n")
        return False

    wire.script = script
    found = await problem(source)
    assert (found.action, found.status) == (Action.RETRY, 502)
    assert len(found.message) < 400


async def test_connection_refused():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with client_of(f"http://127.0.0.1:{port}") as client:
        found = await problem(RestPixelSource(client))
        assert (found.action, found.cause) == (Action.RETRY, "no connection")
        assert "127.0.0.1" in found.message


async def test_a_name_without_an_address():
    async with client_of("http://no-such-host.invalid", timeouts=Timeouts(first_byte_s=20)) as client:
        found = await problem(RestPixelSource(client))
    assert found.cause in {"no address", "no connection"}


async def test_plain_http_where_tls_is_expected():
    async def plain(reader, writer):
        await reader.read(2**16)  # else its end would be a reset
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with client_of(url) as client:
        found = await problem(RestPixelSource(client))
    server.close()
    assert found.cause == "TLS"


async def test_an_untrusted_certificate_is_refused(tmp_path):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path))
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with client_of(url) as client:
        found = await problem(RestPixelSource(client))
    server.close()
    assert (found.action, found.cause) == (Action.FAIL_JOB, "certificate")
    assert "certificate" in found.message
    assert "SSL_CERT_FILE" in found.message


async def test_a_missing_file_of_certificates_is_named(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    ssl_context.cache_clear()
    with pytest.raises(JobError, match=r"SSL_CERT_FILE: /no/such/file\.pem cannot be read"):
        async with client_of("https://127.0.0.1:9") as client:
            await problem(RestPixelSource(client))
    ssl_context.cache_clear()


async def test_proxy_variables_are_honoured(wire, monkeypatch):
    wire.script = always(ok())
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with client_of("http://earthengine.example") as client:
        assert whole(await RestPixelSource(client).fetch(small_request()))
    assert wire.requests[0][0].startswith("POST http://earthengine.example/v1/")


async def test_but_not_for_this_machine(wire, monkeypatch):
    wire.script = always(ok())
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with client_of(wire.url) as client:
        assert whole(await RestPixelSource(client).fetch(small_request()))


async def test_a_proxy_that_wants_a_password(wire, monkeypatch):
    wire.script = always(refusal(407))
    monkeypatch.setenv("HTTPS_PROXY", wire.url.replace("//", "//user:passw0rd@"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with client_of("https://earthengine.example") as client:
        found = await problem(RestPixelSource(client))
    assert (found.action, found.cause) == (Action.FAIL_JOB, "407 proxy")
    assert "HTTPS_PROXY" in found.message
    assert "passw0rd" not in found.message
    line, headers, _ = wire.requests[0]
    assert line == "CONNECT earthengine.example:443 HTTP/1.1"
    assert headers["proxy-authorization"] == "Basic dXNlcjpwYXNzdzByZA=="


async def test_metadata_is_asked_again_until_it_comes(wire):
    """Waits are the clock's: this one does not wait."""
    answers = [
        refusal(503),
        refusal(502, b"<html><title>Bad</title>"),
        refusal(429),
        ok(b"<html>"),
        ok(b'{"type": "IMAGE"}'),
    ]

    async def script(connection, number):
        await connection.send(answers[number - 1])
        return True

    wire.script = script
    clock = HastyClock()
    async with client_of(wire.url, clock=clock) as client:
        assert await EarthEngineCatalogue(client).document("A/B") == {"type": "IMAGE"}
    assert len(clock.waits) == 4


async def test_and_given_up_with_a_clear_word(wire):
    wire.script = always(refusal(503, b"", "retry-after: 20"), keep=True)
    clock = HastyClock()
    async with client_of(wire.url, clock=clock) as client:
        with pytest.raises(StoppedError, match="A/B: 503"):
            await EarthEngineCatalogue(client).document("A/B")
    assert 2 <= len(wire.requests) <= 8
    assert all(wait >= 20 for wait in clock.waits)
    assert sum(clock.waits) <= 120


async def test_the_front_end_is_tried_slowly_and_then_ends_as_permission(wire):
    from downloader.errors import AuthenticationError

    wire.script = always(refusal(403, b"<html><title>Error 403 (Forbidden)</title>"), keep=True)
    clock = HastyClock()
    async with client_of(wire.url, clock=clock) as client:
        with pytest.raises(AuthenticationError, match="Forbidden"):
            await EarthEngineCatalogue(client).document("A/B")
    assert len(wire.requests) >= 3
    assert all(wait >= 30 for wait in clock.waits)


async def test_restricted_parallelism_is_told_each_time(wire, source):
    told = []

    class Limiter:
        def restrict(self):
            told.append(1)

    source.client.limiter = Limiter()
    wire.script = always(ok(GOOD, "x-earth-engine-quota-status: a=b, parallelism_restricted=true"), keep=True)
    for _ in range(3):
        await source.fetch(small_request())
    assert told == [1, 1, 1], "the limiter takes silence for the end of the restriction"
    assert source.client.restricted


def peak_per_second(times):
    """The most starts in any second, at the server."""
    return max(sum(1 for later in times if at <= later < at + 1) for at in times)


async def herd(wire, client, requests=30, starts_per_s=5.0):
    """Fetch through the limiter and the retries of a run; return what came, and each repeat's cause."""
    clock, causes = MonotonicClock(), []
    limiter = AdaptiveLimiter(requests, starts_per_s, clock, random.Random(1), 900)
    client.limiter = it = JobLimiter(limiter, requests, client.renewal)
    source, budget = RestPixelSource(client), RetryBudget()

    async def call():
        ticket, problem = await it.acquire(), None
        try:
            return await source.fetch(small_request())
        except TileError as error:
            problem = error.problem
            raise
        finally:
            it.release(ticket, problem)

    async def one():
        def told(problem, _):
            causes.append(problem.cause)

        return await persist(call, RetryPolicy(), budget, clock, random.Random(), told)

    pixels = await asyncio.gather(*(one() for _ in range(requests)))
    assert all(whole(one) for one in pixels)
    assert len(wire.requests) == requests + len(causes) == budget.calls, "every call is counted"
    assert limiter.starts >= len(wire.requests)
    return causes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dropped", "refused"])
async def test_repeats_keep_to_the_rate(wire, kind, monkeypatch):
    """Thirty connections dropped at once, thirty 401s at once, at 5 starts a second."""
    times, all_here = [], asyncio.Event()

    async def script(connection, number):
        times.append(asyncio.get_running_loop().time())
        if number <= 30:
            if number == 30:
                all_here.set()
            await all_here.wait()
            if kind == "refused":
                await connection.send(refusal(401))
                return True
            connection.reset()
            return False
        await connection.send(ok())
        return True

    wire.script = script
    monkeypatch.setenv("MY_TOKEN", "a-token-of-the-test")
    auth = AuthSettings("access_token_env", "MY_TOKEN")
    async with client_of(wire.url, auth=auth, timeouts=Timeouts(), concurrency=40) as client:
        causes = await herd(wire, client, requests=30)
    assert len(causes) >= 30
    assert peak_per_second(times) <= 5 + 1


@pytest.mark.slow
async def test_resets_of_nine_in_ten_keep_to_the_rate(wire):
    """Calls of a used connection, of a fresh one, and those that the breaker lets pass alike."""
    times = []

    async def script(connection, number):
        times.append(asyncio.get_running_loop().time())
        if number % 10 and number <= 50:
            connection.reset()
            return False
        await connection.send(ok())
        return True

    wire.script = script
    async with client_of(wire.url, timeouts=Timeouts(), concurrency=40) as client:
        causes = await herd(wire, client, requests=30)
    assert len(causes) == 45
    assert peak_per_second(times) <= 5 + 1


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("used", [False, True])
async def test_retries_are_calls_after_the_first(wire, retries, used):
    """Also where the first call goes out on a connection that had been used before."""

    async def script(connection, number):
        if used and number == 1:
            await connection.send(ok())
            return True
        connection.reset()
        return False

    wire.script = script
    clock, told = HastyClock(), []
    async with client_of(wire.url, clock=clock, timeouts=Timeouts()) as client:
        source = RestPixelSource(client)
        if used:
            assert whole(await source.fetch(small_request()))
            await asyncio.sleep(REST_S + 0.05)
        before = len(wire.requests)
        with pytest.raises(TileError):
            await persist(
                lambda: source.fetch(small_request()),
                RetryPolicy(retries),
                RetryBudget(),
                clock,
                random.Random(1),
                lambda problem, call: told.append(problem.cause),
            )
    assert len(wire.requests) - before == 1 + retries == 1 + len(told)


async def test_a_document_is_not_repeated_behind_the_limiter(wire):
    """The HTTP library would repeat a GET whose kept connection was closed, by itself: every call is this client's own."""

    async def script(connection, number):
        if number == 2:
            connection.reset()
            return False
        await connection.send(ok(b'{"type": "IMAGE"}'))
        return True

    wire.script = script
    async with client_of(wire.url, timeouts=Timeouts()) as client:
        for _ in range(2):
            await EarthEngineCatalogue(client).document("A/B")
            await asyncio.sleep(REST_S + 0.05)
        assert client.metadata_calls == len(wire.requests) == 3


async def test_identity(wire, source):
    wire.script = always(ok(), keep=True)
    await source.fetch(small_request())
    assert source.client.service_identity == "host:" + wire.url.removeprefix("http://")
    wire.script = always(ok(GOOD, "x-earth-engine-emulator: land-9"), keep=True)
    await source.fetch(small_request())
    assert source.client.service_identity == "emulator land-9"


async def test_googles_hosts_are_earth_engine():
    from downloader.earthengine.names import HIGH_VOLUME, STANDARD

    for url in (STANDARD, HIGH_VOLUME):
        async with client_of(url) as client:
            assert client.service_identity == "earthengine"


@pytest.mark.parametrize(
    "body", [b"[" + b"[]," * 1_600_000 + b"[]]", b'{"a": [' + b"1," * 4_100_000 + b"1]}"]
)
async def test_a_document_that_would_fill_the_memory_is_not_parsed(wire, body):
    wire.script = always(ok(body), keep=True)
    async with client_of(wire.url, clock=HastyClock(), timeouts=Timeouts(), patience_s=1.0) as client:
        with pytest.raises(StoppedError, match="JSON"):
            await EarthEngineCatalogue(client).document("A/B")


async def test_a_person_without_a_project_is_told_before_the_first_request(wire, monkeypatch, tmp_path):
    for name in ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    saved = tmp_path / ".config" / "earthengine" / "credentials"
    saved.parent.mkdir(parents=True)
    saved.write_text('{"refresh_token": "1//r"}')
    with pytest.raises(JobError, match=r"service\.project: none is known"):
        async with client_of(wire.url, auth=AuthSettings("earthengine")):
            pass
    async with client_of(wire.url, auth=AuthSettings("earthengine"), project="my-project"):
        pass
    assert wire.requests == []


async def test_half_of_a_surrogate_pair_in_a_document_becomes_text_that_can_be_written(wire):
    body = rb'{"id": "a\ud800b", "name": "\ud83d\ude00", "type": "\\ud800"}'
    wire.script = always(ok(body), keep=True)
    async with client_of(wire.url) as client:
        document = await EarthEngineCatalogue(client).document("A/B")
    assert document == {"id": "a?b", "name": "\U0001f600", "type": "\\ud800"}
