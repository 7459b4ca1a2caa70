"""Google Cloud Storage's XML API, as far as its documentation says what a mosaic needs: no stand-in of it takes puts.

Generations count up; `x-goog-if-generation-match` is 0 for an object that must not be there.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_PAGE = 5


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    objects: dict[str, tuple[bytes, int]]
    generations: Iterator[int]
    guard: threading.Lock

    def log_message(self, *arguments: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        _, _bucket, key = f"{unquote(url.path)}/".split("/", 2)
        with self.guard:
            if self.command == "GET" and not key:
                self._list({name: values[0] for name, values in parse_qs(url.query).items()})
                return
            self._object(key.rstrip("/"), body)

    def _object(self, key: str, body: bytes) -> None:
        there = self.objects.get(key)
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None and int(wanted) != (there[1] if there else 0):
            self._say(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        elif self.command == "PUT":
            self.objects[key] = (body, next(self.generations))
            self._say(200, b"", self.objects[key])
        elif there is None:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif self.command == "DELETE":
            del self.objects[key]
            self._say(204, b"")
        elif found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
            first, last = int(found[1]), min(int(found[2]), len(there[0]) - 1)
            self._say(206, there[0][first : last + 1], there, f"bytes {first}-{last}/{len(there[0])}")
        else:
            self._say(200, there[0], there)

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        names: dict[str, bool] = {}
        for key in sorted(self.objects):
            if key.startswith(prefix):
                head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                names[prefix + head + cut if cut else key] = bool(cut)
        left = [name for name in names if name > query.get("continuation-token", "")]
        shown, more = left[:_PAGE], left[_PAGE:]
        parts = [
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if names[name]
            else f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[name][0])}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{self.objects[name][1]}&quot;</ETag></Contents>"
            for name in shown
        ]
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        self._say(200, f"<ListBucketResult>{''.join(parts)}{token}</ListBucketResult>".encode())

    def _say(
        self, status: int, body: bytes, about: tuple[bytes, int] | None = None, part: str | None = None
    ) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        if part is not None:
            self.send_header("Content-Range", part)
        if about is not None:
            self.send_header("ETag", f'"{hashlib.md5(about[0], usedforsecurity=False).hexdigest()}"')
            self.send_header("x-goog-generation", str(about[1]))
            self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        self.wfile.write(body)


for _method in ("GET", "PUT", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._any)


@contextlib.contextmanager
def google() -> Iterator[str]:
    """The base URL of an empty server with every bucket."""
    handler = type(
        "Handler",
        (_Handler,),
        {"objects": {}, "generations": itertools.count(1_700_000_000_000_000), "guard": threading.Lock()},
    )

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            """A client that was killed."""

    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
