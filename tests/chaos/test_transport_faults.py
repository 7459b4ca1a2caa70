"""Rows 19 to 27: the way to the service and back."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import subprocess
import threading
import time

import pytest

from earthengine_emulator import EmulatorProcess, arguments
from tests import harness
from tests.chaos.kit import TILES


def closed_port():
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ends_clearly(lab, *, within, env=None, **service):
    """A run against another address ends with 4 in time; what it said."""
    began = time.monotonic()
    lab.job(limits={"give_up_after": "2s"}, service={"project": "p-test-1", **service}, auth={"none": True})
    run = lab.end(lab.start(env=env), began)
    assert run.status == 4, run
    assert run.seconds < within
    assert not lab.mosaic.exists()
    return run


def test_row_19_connection_refused_at_the_start(lab):
    port = closed_port()
    run = ends_clearly(lab, within=20, endpoint=f"http://127.0.0.1:{port}")
    assert "no connection to 127.0.0.1" in run.said
    assert "Connect call failed" in run.said


def test_row_20_connection_refused_in_mid_job(lab):
    """For longer than the user is left in the dark: told once, one request at a time meanwhile, then on at full speed."""
    lab.job(3000, limits={"give_up_after": "24s"})
    lab.faults({"fault": "refuse", "skip": 30, "times": 1, "seconds": 16}, latency_ms=50)
    run = lab.run()
    lab.right(side=3000)
    assert run.seconds > 16
    assert "asking one at a time, for up to 24 s" in run.said
    assert "pixels arrive again after" in run.said
    assert run.report["tiles_failed"] == 0
    assert run.retries["no connection"] + run.retries["reset"] < 60, "the circuit was open: few asked in vain"


def test_row_20_an_outage_that_lasts(lab):
    lab.job(2000, limits={"give_up_after": "3s"})
    lab.faults({"fault": "refuse", "skip": 20, "times": 1, "seconds": 6}, latency_ms=50)
    run = lab.run(status=4)
    assert "the service sent no pixels for 3 s" in run.said
    assert 0 < lab.stored_tiles_are_right(2000) == run.report["tiles_stored"]
    time.sleep(max(0.0, 7 - run.seconds))
    lab.heal(2000)


def test_row_20_server_restarted_in_mid_job(lab):
    """The process dies, and later another takes its port."""
    switches = arguments(quota_per_minute=0, latency_ms=100, tokens={"chaos": "p-test-1"})
    with EmulatorProcess(switches) as first:
        port = int(first.url.rpartition(":")[2])
        lab.job(
            2000,
            service={"endpoint": first.url, "project": "p-test-1"},
            auth={"access_token_env": "TOKEN"},
            limits={"give_up_after": "60s"},
        )
        process = lab.start(env={"TOKEN": "chaos"})
        harness.wait_until(lambda: harness.ledger_lines(lab.mosaic) >= 6, process)
    with EmulatorProcess([*switches, f"--port={port}"]):
        run = lab.end(process)
        assert run.status == 0, run
    lab.right(side=2000)
    assert run.report["tiles_failed"] == 0


def test_row_21_reset(lab):
    """Before the answer, within its headers, after them and within its body."""
    places = ("before-headers", "in-headers", "after-headers", "in-body")
    lab.job(1500)
    lab.faults(
        *({"fault": f"reset-{place}", "skip": 1 + 5 * n, "times": 3} for n, place in enumerate(places))
    )
    run = lab.run()
    lab.right(side=1500)
    assert set(lab.fault_counts().values()) == {3}
    assert len(lab.fault_counts()) == len(places)
    assert run.retries.total() >= 6, (
        "the first two look like an idle connection that was closed: asked again silently"
    )


def test_row_22_body_cut(lab):
    lab.job(1500)
    lab.faults(
        {"fault": "short-body", "skip": 1, "times": 3}, {"fault": "cut-chunked", "skip": 9, "times": 3}
    )
    run = lab.run()
    lab.right(side=1500)
    assert lab.fault_counts() == {"short-body": 3, "cut-chunked": 3}
    assert run.retries["short body"] == 6


def test_row_22_nothing_of_a_cut_body_is_stored(lab):
    """Every answer for one tile is cut: the tile is recorded, and holds no pixel of what came."""
    lab.job(limits={"retries": 1})
    lab.faults({"fault": "short-body", "covers": [400, 400], "fraction": 0.9})
    run = lab.run(status=3)
    assert run.causes() == {"short body"}
    assert not harness.band_arrays(lab.mosaic)["B2"][:256, :256].any()
    assert lab.stored_tiles_are_right() == TILES - 1
    lab.heal()


def test_row_23_stalls_and_drips(lab):
    """Cut after a second here in place of 90 and 30, by the same watch."""
    kinds = [
        {"fault": "stall-before-headers"},
        {"fault": "stall-after-headers"},
        {"fault": "stall-in-body"},
        {"fault": "drip", "seconds_per_byte": 0.05},
    ]
    lab.job(1500, request={"timeout": "1s"})
    lab.faults(*({**kind, "skip": 3 + 5 * n, "times": 2} for n, kind in enumerate(kinds)))
    run = lab.run(wrapped=["--patience", "1"])
    lab.right(side=1500)
    assert (run.retries["no first byte"], run.retries["stalled"], run.retries["too slow"]) == (2, 4, 2), run


def test_row_24_keep_alive_closed_between_requests(lab):
    """Transparent: the request is sent again at once over another connection, and seldom counts as a retry."""
    lab.job(2000)
    lab.faults({"fault": "close-after"})
    run = lab.run()
    lab.right(side=2000)
    assert run.retries.total() <= 3, "a request may meet a second connection that is just being closed"
    assert run.report["tiles_failed"] == 0


def test_row_25_no_address(lab):
    run = ends_clearly(lab, within=25, endpoint="http://earth.invalid")
    assert "earth.invalid has no address" in run.said


def test_row_25_no_tls(lab):
    """A server that speaks plain HTTP where TLS is asked for."""
    run = ends_clearly(lab, within=20, endpoint=lab.emulator.url.replace("http://", "https://"))
    assert "no secure connection to 127.0.0.1" in run.said


def test_row_25_a_certificate_nobody_vouches_for(lab, tmp_path):
    own, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {own}"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    with serving(tls=context) as (port, seen):
        run = ends_clearly(lab, within=20, endpoint=f"https://localhost:{port}")
    assert "the certificate of localhost is not valid" in run.said
    assert seen == []


def test_row_25_proxy_cannot_be_reached(lab):
    port = closed_port()
    run = ends_clearly(
        lab,
        within=20,
        endpoint="http://earth.invalid",
        env={"HTTP_PROXY": f"http://user:tres3cret@127.0.0.1:{port}"},
    )
    assert "proxy" in run.said
    assert "tres3cret" not in run.said


def test_row_26_redirect_to_another_host(lab):
    """Not followed, with or without credentials; recorded after the retries."""
    with serving() as (port, seen):
        lab.job(limits={"retries": 1})
        lab.faults({"fault": "redirect", "location": f"http://127.0.0.1:{port}/steal", "covers": [400, 400]})
        run = lab.run(status=3)
    assert seen == []
    assert run.causes() == {"redirect"}
    assert f"a redirect to 127.0.0.1:{port}, which is not followed" in run.report["failed"][0]["message"]
    lab.heal()


def test_row_27_compressed_or_chunked(lab):
    lab.faults({"fault": "gzip", "every": 2}, {"fault": "chunked"})
    run = lab.run()
    lab.right()
    assert set(lab.fault_counts()) == {"gzip", "chunked"}
    assert not {"too large", "bad encoding", "bad NPY", "short body"} & set(run.retries)


@pytest.mark.parametrize("fault", ["gzip-bomb", "oversized"])
def test_row_27_bombs(lab, fault):
    """A small body that inflates to 200 MB, or 200 MB where a quarter of one was asked for: refused within bounds."""
    lab.job(limits={"memory": "200MiB"})
    lab.faults({"fault": fault, "skip": 1, "every": 3, "times": 2, "megabytes": 200})
    run = lab.run()
    lab.right()
    assert run.retries["too large"] == lab.fault_counts()[fault] == 2
    assert run.report["peak_memory_bytes"] < 200 * 2**20


@contextlib.contextmanager
def serving(tls=None):
    """A server of another kind on this machine, and the requests that reached it."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET  # noqa: N815  # the name that the library looks for

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            pass  # a client that goes away during the handshake is what these tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
