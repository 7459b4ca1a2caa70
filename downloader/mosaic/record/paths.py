"""Keys of everything below `.downloader`, the folder in which a mosaic keeps what is not pixels."""

from __future__ import annotations

from typing import Final

OWN: Final = ".downloader"
"""The folder. Every other key here lies in it."""

MARKER: Final = f"{OWN}/mosaic.json"
"""The identity of the mosaic; its presence says that a folder was made by this downloader."""

JOB: Final = f"{OWN}/job.yaml"
"""The job file as its author wrote it, of the run that created or last extended the mosaic."""

LEDGER: Final = f"{OWN}/ledger"
"""Folder of the ledger's files."""

OVERVIEWS_RECORD: Final = f"{OWN}/overviews.json"
"""Pyramiding policies of overviews that were made with others than the bands' own."""

LOCK: Final = f"{OWN}/lock"
"""File that a run locks, on a disk."""

LEASE: Final = f"{OWN}/lease"
"""Object that a run keeps renewing, in a bucket. It stays when the lease is given back: an epoch is used once."""

LEASE_WANTED: Final = f"{OWN}/lease-wanted"
"""Object with the epoch of a lazy reader's lease that another process waits for."""

WORKERS: Final = f"{OWN}/workers"
"""Folder of the locks of a distributed run's workers."""
