"""An S3 server in a process of its own, and a proxy before it that can do what networks and busy stores do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "mosaics"

_SERVE = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """The port of an S3 server with one bucket; it ends with the block, or with this process."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            port = int(process.stdout.readline())
            make_bucket(port, BUCKET)
            yield port
        finally:
            process.kill()


def make_bucket(port: int, name: str) -> None:
    """Make a bucket; the server asks for no signature."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    credentials = (
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    )
    connection.request("PUT", f"/{name}", headers={"Authorization": credentials})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def variables(port: int) -> dict[str, str]:
    """What the environment of a run says of the server."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


@dataclass(frozen=True)
class Request:
    """One request as the proxy sees it."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def is_conditional(self) -> bool:
        """Whether it says what must be there."""
        return "if-match" in self.headers or "if-none-match" in self.headers


Fault = Callable[[Request], str | None]
"""What happens to a request; None for nothing. See `FaultyProxy`."""

_BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
_CONFLICT = b'<?xml version="1.0"?><Error><Code>ConditionalRequestConflict</Code><Message>Try again.</Message></Error>'
_DENIED = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>You may not, key %s.</Message></Error>'


@dataclass
class FaultyProxy:
    """Before a server: a request's fault says what becomes of it.

    `busy`       answered with 503 SlowDown, not carried out
    `stall`      never answered, not carried out
    `lost`       carried out, and the connection closed without a word
    `lost stall` carried out, and never answered
    `403 CODE`   answered so, with this code of S3
    `conflict`   answered with 409 ConditionalRequestConflict, not carried out
    """

    upstream: int
    latency_s: float = 0.0
    fault: Fault = lambda _: None
    faults: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        """The port that it listens on."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *arguments: object) -> None:
                pass

            def _any(self) -> None:
                proxy._answer(self)

        for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            setattr(Handler, f"do_{method}", Handler._any)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: object) -> None:
                """A client that was killed."""

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield server.server_address[1]
            finally:
                self._ending.set()
                server.shutdown()
                thread.join()

    def reset(self) -> None:
        """No faults, no latency, nothing counted."""
        self.latency_s, self.fault = 0.0, lambda _: None
        self.faults.clear()
        self.requests.clear()

    def _answer(self, client: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in client.headers.items()}
        body = client.rfile.read(int(headers.get("content-length", 0)))
        request = Request(client.command, client.path, headers)
        self.requests.append(request)
        if self.latency_s:
            time.sleep(self.latency_s)
        fault = self.fault(request)
        if fault is not None:
            self.faults[fault] += 1
        if fault == "busy":
            self._say(client, 503, _BUSY)
            return
        if fault == "conflict":
            self._say(client, 409, _CONFLICT)
            return
        if fault is not None and fault.startswith("403"):
            self._say(client, 403, _DENIED % (fault[4:].encode(), SECRET.encode()[:0]))
            return
        if fault == "stall":
            self._ending.wait(60)
            client.close_connection = True
            return
        status, answered, payload = self._forward(client, body)
        if fault in {"lost", "lost stall"}:
            if fault == "lost stall":
                self._ending.wait(60)
            client.close_connection = True
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_RDWR)
            return
        client.send_response_only(status)
        for name, value in answered:
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                client.send_header(name, value)
        length = {n.lower(): v for n, v in answered}.get("content-length", "0")
        client.send_header("Content-Length", length if client.command == "HEAD" else str(len(payload)))
        client.end_headers()
        if client.command != "HEAD":
            client.wfile.write(payload)

    def _forward(
        self, client: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            connection.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
            for name, value in client.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _say(self, client: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        client.send_response_only(status)
        client.send_header("Content-Type", "application/xml")
        client.send_header("Content-Length", str(len(body)))
        client.end_headers()
        client.wfile.write(body)
