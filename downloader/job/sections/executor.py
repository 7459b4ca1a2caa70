"""Section `executor` of the job file: this process, or workers of Dask. It changes no pixel."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from downloader.job.sections.base import Section
from downloader.job.units import Duration

_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_ADDRESSES = "write the scheduler's address, such as tcp://scheduler:8786"


class Dask(Section):
    """Workers of Dask: a cluster that is there, or one that lives as long as the run."""

    scheduler: str | None = None
    """Address of the scheduler of a cluster that is there, such as `tcp://scheduler:8786`."""
    workers: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Worker processes to start on this machine; they end with the run."""
    leave_after: Annotated[Duration, Field(gt=0)] = 15.0
    """A worker that hears nothing of its run for so long saves what it has and leaves."""

    @field_validator("scheduler")
    @classmethod
    def _address(cls, address: str | None) -> str | None:
        if address is None:
            return None
        if "@" in address:
            raise ValueError(f"an address must hold no user or password; {_ADDRESSES}")
        found = _ADDRESS.fullmatch(address)
        if not found or not 0 < int(found[3]) < 65536:
            raise ValueError(_ADDRESSES)
        return address

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.scheduler is None) == (self.workers is None):
            raise ValueError(
                "give one of scheduler, the address of a cluster that is there, and workers, a number of processes to start"
            )
        return self


class ExecutorSection(Section):
    """Place of the work: `local`, in this process; or workers of Dask."""

    dask: Dask | None = None
    """Worker processes, here or on other machines."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "local":
            raise ValueError("write local, or dask: {workers: 4}, or dask: {scheduler: tcp://…}")
        return {} if value == "local" else value

    @property
    def is_local(self) -> bool:
        """True if the run stays in this process."""
        return self.dask is None
