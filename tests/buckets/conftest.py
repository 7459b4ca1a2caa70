"""An S3 server and a proxy before it, for each test process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from downloader.mosaic.storage.bucket import BucketStore
from tests import harness
from tests.buckets.server import BUCKET, SECRET, FaultyProxy, s3_server, variables


@pytest.fixture(scope="session")
def s3():
    """The server's port, no proxy before it."""
    with s3_server() as port:
        yield port


@pytest.fixture(scope="session")
def _proxy(s3):
    proxy = FaultyProxy(s3)
    with proxy.serving() as port:
        yield proxy, port


@dataclass
class Cloud:
    """One folder of the bucket, seen through the proxy."""

    proxy: FaultyProxy
    port: int
    prefix: str

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    @property
    def env(self) -> dict[str, str]:
        return variables(self.port)

    def store(self, *, timeout: str = "30s", retries: int = 10) -> BucketStore:
        """Through the proxy."""
        from obstore.store import S3Store

        config = {"endpoint": f"http://127.0.0.1:{self.port}", "access_key_id": "test", "timeout": timeout}
        return BucketStore(
            S3Store(
                BUCKET,
                prefix=self.prefix,
                secret_access_key=SECRET,
                region="us-east-1",
                allow_http=True,
                retry_config={"max_retries": retries},
                **config,
            ),
            self.url,
        )

    def copy_to(self, folder: Path) -> Path:
        """Every object, as files."""
        store = self.store()
        for key, _ in store.list(""):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(store.get(key)))
        return folder

    def ledger_puts(self) -> int:
        """Commits that the proxy has seen."""
        return sum(
            request.method == "PUT" and ".downloader/ledger" in request.path
            for request in list(self.proxy.requests)
        )


@pytest.fixture
def cloud(_proxy, request):
    """A folder of its own for each test; no faults."""
    proxy, port = _proxy
    proxy.reset()
    yield Cloud(proxy, port, f"{request.node.name.replace('[', '-').rstrip(']')}/m.zarr")
    proxy.reset()


@pytest.fixture
def in_cloud(cloud, monkeypatch):
    """The same for code in this process: the variables that a user would set."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name, value in cloud.env.items():
        monkeypatch.setenv(name, value)
    return cloud


@pytest.fixture
def small(emulator, cloud, tmp_path):
    """A job of 3 × 3 tiles with clipped edges, two bands, one tile a request and a shard; `small(url)` writes its file."""

    def write(path: str = cloud.url, name: str = "job.yaml", **sections: object) -> Path:
        values = {
            "source": {"asset": harness.ASSET, "bands": ["B2", "B3"]},
            "region": harness.window(300, 300, 700, 700),
            "request": {"tiles": 1},
            "limits": {"concurrency": 4},
            **sections,
        }
        return harness.write_job(tmp_path, harness.job(emulator, path, **values), name)

    return write
