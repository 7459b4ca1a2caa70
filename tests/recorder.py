"""A small server that stands before an emulator and writes down, word for word, what it is asked."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from earthengine_emulator import EmulatorProcess, arguments

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}


@dataclass
class Recorded:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Recorder:
    """Passes everything on to an emulator of its own, which takes any token."""

    requests: list[Recorded] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._emulator = EmulatorProcess(arguments(auth="optional", quota_per_minute=0))
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the base class's name
                recorder._pass_on(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._emulator.close()

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Recorded(handler.command, handler.path, headers, body))
        onward = urllib.request.Request(
            self._emulator.url + handler.path,
            body if handler.command == "POST" else None,
            {name: value for name, value in headers.items() if name not in _HOP},
            method=handler.command,
        )
        try:
            answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(onward)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content = answer.read()
            handler.send_response(answer.status or answer.code)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
