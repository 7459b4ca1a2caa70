"""The service-account key file that works against an emulator: made, written, and recognised again."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PROJECT: Final = "p-test-1"
EMAIL: Final = f"emulator@{PROJECT}.iam.gserviceaccount.com"
KEY_BITS: Final = 2048


class KeyFileError(Exception):
    """The path given for the key file holds something that is not the emulator's to replace."""


@dataclass(frozen=True)
class ServiceAccount:
    """The emulator's one service account."""

    private_key: RSAPrivateKey
    key_id: str
    email: str = EMAIL
    project: str = PROJECT

    def document(self, token_uri: str) -> dict[str, Any]:
        """Return the key file's JSON, in the form Google's key files have."""
        from cryptography.hazmat.primitives import serialization

        pem = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.key_id,
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }


def create() -> ServiceAccount:
    """Return a service account with a new key."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return ServiceAccount(rsa.generate_private_key(65537, KEY_BITS), os.urandom(20).hex())


def load(path: Path) -> ServiceAccount:
    """Return the account of a key file that an emulator wrote.

    Raises:
        KeyFileError: the file is something else, which must not be overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        document = json.loads(path.read_text())
        if document["client_email"] != EMAIL:
            raise KeyFileError(f"{path} is a key file of {document['client_email']}; name another file")
        key = load_pem_private_key(document["private_key"].encode(), None)
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFileError(
            f"{path} exists and is not a key file of an emulator; name another file"
        ) from error
    if not isinstance(key, RSAPrivateKey):
        raise KeyFileError(f"{path} does not hold an RSA key; name another file")
    return ServiceAccount(key, str(document["private_key_id"]))


def write(path: Path, account: ServiceAccount, token_uri: str) -> None:
    """Write the key file whole or not at all, readable by its owner only."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(account.document(token_uri), file, indent=2)
            file.write("\n")
        Path(temporary).chmod(0o600)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
