"""The place of a mosaic as the job file writes it: a folder, or a folder in a bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SCHEMES: Final = {
    "s3": "s3://BUCKET/PATH (Amazon S3 and what speaks its protocol)",
    "gs": "gs://BUCKET/PATH (Google Cloud Storage)",
    "az": "az://CONTAINER/PATH (Azure Blob Storage)",
    "memory": "memory://NAME (the library only: gone with the process)",
}
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
# `pathlib` folds the two slashes of a URL into one; nobody names a folder `s3:`.
_FOLDED: Final = re.compile(rf"(?P<scheme>{'|'.join(_SCHEMES)}):/(?P<rest>[^/].*)", re.DOTALL)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What object stores, HTTP or Zarr readers treat in ways of their own.
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\\{}^%`\[\]\"<>~#|*?]")


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A folder in a bucket."""

    scheme: str
    """`s3`, `gs`, `az` or `memory`."""
    bucket: str
    """Name of the bucket or container."""
    prefix: str
    """Prefix of every key, with no slash at either end; may be empty for `memory`."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"


def parse_place(text: str) -> BucketUrl | None:
    """Return the bucket that `text` names; None where it is the path of a folder.

    Raises:
        ValueError: it is a URL and none of a bucket, with what to write instead; never with what may be a secret.
    """
    found = _URL.fullmatch(text) or _FOLDED.fullmatch(text)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    if scheme not in _SCHEMES:
        raise ValueError(f"write a folder's path, {', '.join(_SCHEMES.values())}")
    bucket, _, prefix = found["rest"].partition("/")
    if "@" in bucket:
        raise ValueError(
            "credentials do not belong into a path, where everybody reads them; leave them out here and set the"
            " variables that the cloud's own tools read, such as AWS_ACCESS_KEY_ID"
        )
    if "?" in text or "#" in text:
        raise ValueError(f"a URL's query or fragment means nothing here; write {_SCHEMES[scheme]}")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"names no bucket; write {_SCHEMES[scheme]}")
    prefix = prefix.rstrip("/")
    if not prefix and scheme != "memory":
        raise ValueError(f"names a whole bucket; name a folder in it: {scheme}://{bucket}/mosaic.zarr")
    if _UNSAFE.search(prefix) or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise ValueError("write a path of plain names and single slashes behind the bucket")
    return BucketUrl(scheme, bucket, prefix)
