"""The Dask cluster of one run: an existing one, or worker processes on this machine that end with the run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from downloader.errors import MissingExtraError, StoppedError

if TYPE_CHECKING:
    from downloader.job.sections.executor import Dask


_CONNECT_S: Final = 20.0
_IDENTITY_S: Final = 5.0
_CLOSE_S: Final = 10.0


class Cluster:
    """A Dask cluster: its workers, and calls of functions in their processes."""

    def __init__(self, client: Any, address: str) -> None:  # noqa: ANN401  # distributed.Client
        self._client = client
        self.address = address
        """The scheduler's."""

    async def workers(self) -> list[str]:
        """Return the addresses of the present workers. Raises OSError or TimeoutError where the scheduler does not answer."""
        # The client tries to connect again for itself, for a while; until then nothing is known.
        if self._client.status != "running":
            raise OSError("the connection to the scheduler is lost")
        with anyio.fail_after(_IDENTITY_S):
            identity = await self._client.scheduler.identity()
        return list(identity["workers"])

    async def call(self, within_s: float, address: str, function: Any, *arguments: Any) -> Any:  # noqa: ANN401  # of any kind
        """Run a function on the event loop of a worker and return its result.

        Raises what it raises; OSError, TimeoutError or KeyError where the worker is gone or does not answer.
        """
        with anyio.fail_after(within_s):
            answers = await self._client.run(function, *arguments, workers=[address])
        return answers[address]

    def submit(self, address: str, name: str, function: Any, *arguments: Any) -> Any:  # noqa: ANN401  # a Future
        """Start a task at one worker and nowhere else; return its `distributed.Future`."""
        return self._client.submit(function, *arguments, key=name, workers=[address], pure=False, retries=0)


@asynccontextmanager
async def cluster(settings: Dask) -> AsyncIterator[Cluster]:
    """Yield a cluster for the block.

    Raises:
        MissingExtraError: Dask is not installed.
        StoppedError: no scheduler answers there, or no worker can be started.
    """
    try:
        import distributed
    except ImportError:
        raise MissingExtraError("executor.dask", "dask") from None
    async with AsyncExitStack() as stack:
        stack.enter_context(_quiet())
        try:
            there: Any = settings.scheduler
            if there is None:
                folder = tempfile.TemporaryDirectory(prefix="downloader-dask-", ignore_cleanup_errors=True)
                there = await _started(settings.workers or 1, stack.enter_context(folder))
                stack.push_async_callback(_closed, there)
            client = await distributed.Client(  # type: ignore[no-untyped-call]
                there, asynchronous=True, timeout=_CONNECT_S, set_as_default=False
            )
            stack.push_async_callback(_closed, client)
        except (OSError, TimeoutError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
            raise StoppedError(
                f"executor.dask.workers: the processes did not start ({reason}); a script that starts a download"
                ' does so under `if __name__ == "__main__":`, since worker processes import it'
                if settings.scheduler is None
                else f"executor.dask.scheduler: nobody answers at {settings.scheduler} ({reason}); start a scheduler"
                " there, or correct the address, and run again"
            ) from error
        if settings.scheduler is None:
            await client.run(_ignore_interrupts)
        yield Cluster(client, settings.scheduler or there.scheduler_address)


async def _started(workers: int, folder: str) -> Any:  # noqa: ANN401  # distributed.LocalCluster
    """Start a scheduler and worker processes on this machine."""
    import distributed

    return await distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # Other users of this machine could else run what they like in these processes.
        security=True,
        # Memory is bounded by the job's own limits.
        memory_limit=0,
        # The scheduler has a port for HTTP in any case: any free one, for this machine alone, and no dashboard on it.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        local_directory=folder,
        silence_logs=logging.CRITICAL,
        asynchronous=True,
    )


def _ignore_interrupts() -> None:
    """Ignore SIGINT in a worker: Ctrl-C in a terminal reaches all processes, and the run tells its workers."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def _closed(thing: Any) -> None:  # noqa: ANN401  # Client or LocalCluster
    with anyio.move_on_after(_CLOSE_S, shield=True):
        await thing.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's log of workers that come and go: the run tells it in its own words."""
    # Some of its loggers have levels of their own.
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    before = {logger: logger.level for logger in map(logging.getLogger, names)}
    if not logging.getLogger("downloader").isEnabledFor(logging.DEBUG):
        for logger in before:
            logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
