"""A server that misbehaves byte by byte, and the real client pointed at it or at the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import io
from dataclasses import dataclass, field

import numpy as np
import pytest

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.pixels import RestPixelSource
from downloader.earthengine.timeouts import Timeouts
from downloader.flow.clock import MonotonicClock
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.planning import BandType, PixelRequest

S2 = "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"
QUICK = Timeouts(first_byte_s=0.3, idle_s=0.15, body_s=0.6, connect_s=1.0)


class HastyClock(MonotonicClock):
    """Waits between attempts pass at once and are kept; the watch over an answer still sleeps for real."""

    def __init__(self):
        self.ahead = 0.0
        self.waits = []

    def now(self):
        return super().now() + self.ahead

    async def sleep(self, seconds):
        if asyncio.current_task().get_name() == "watch":
            await super().sleep(seconds)
        else:
            self.waits.append(seconds)
            self.ahead += seconds


def npy(pixels):
    file = io.BytesIO()
    np.lib.format.write_array(file, pixels)
    return file.getvalue()


def small_request(side=64):
    grid = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 499980, 0, -10, 4200000), side, side)
    return PixelRequest("projects/p/assets/a", grid, (BandType("B2", np.dtype("<u2")),))


def small_pixels(side=64):
    pixels = np.zeros((side, side), dtype=[("B2", "<u2")])
    pixels["B2"] = np.arange(side * side).reshape(side, side)
    return pixels


GOOD = npy(small_pixels())


def ok(body=GOOD, *headers):
    """A whole answer."""
    head = [b"HTTP/1.1 200 OK", f"content-length: {len(body)}".encode(), *(h.encode() for h in headers)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def refusal(status, body=b"", *headers):
    head = [
        f"HTTP/1.1 {status} X".encode(),
        f"content-length: {len(body)}".encode(),
        *(h.encode() for h in headers),
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def self_signed(folder):
    """Write a certificate of `localhost` and its key; return both paths."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    )
    (folder / "cert.pem").write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


@dataclass
class Connection:
    """One connection as the script of a test sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: WireServer

    async def request(self):
        """The next request's head and body; None where the client hung up."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)
        }
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.server.requests.append((lines[0], headers, body))
        return lines[0], headers, body

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def reset(self):
        """End the connection with RST."""
        import socket
        import struct

        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()


@dataclass
class WireServer:
    """Runs `script(connection, number)` for each request; when it returns the connection is closed."""

    script: object = None
    requests: list = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def serve(self, reader, writer):
        self.connections += 1
        connection = Connection(reader, writer, self)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while await connection.request() is not None:
                if not await self.script(connection, len(self.requests)):
                    break
        writer.close()


@pytest.fixture
async def wire():
    server = WireServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield server
    listening.close()


@contextlib.asynccontextmanager
async def client_of(url, **options):
    """A client without credentials, with short time-outs."""
    options = {"auth": AuthSettings("none"), **options}
    clock, timeouts = options.pop("clock", MonotonicClock()), options.pop("timeouts", QUICK)
    async with EarthEngine(Access(standard=url, high_volume=url, **options), clock) as client:
        client.timeouts = timeouts
        yield client


@pytest.fixture
async def source(wire, monkeypatch):
    for name in ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    async with client_of(wire.url) as client:
        yield RestPixelSource(client)
