"""`python -m downloader.emulator`: serve until stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from threading import Thread

from aiohttp import web

from . import catalogue, keys, options, rasters
from .auth import Authority
from .control import Control, Handler
from .server import Server

FOREVER_S = 100 * 365 * 86_400.0


def main(arguments: list[str] | None = None) -> int:
    """Run an emulator; the exit status of the process."""
    try:
        chosen = options.parse(arguments)
        server = build(chosen)
    except (options.UsageError, keys.KeyFileError, rasters.RasterError) as error:
        print(f"{options.PROG}: {error}", file=sys.stderr)  # noqa: T201 - this is the program's own message
        return 2
    try:
        return asyncio.run(serve(server, chosen))
    except OSError as error:
        print(f"{options.PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 1


def build(chosen: options.Options) -> Server:
    """The emulator's parts as the options want them, not yet listening."""
    assets = catalogue.built_in()
    for id_, path in chosen.rasters:
        rasters.add(assets, catalogue.asset_name(id_), path)
    reuse = chosen.write_key is not None and chosen.write_key.exists()
    account = keys.load(chosen.write_key) if reuse and chosen.write_key else keys.create()
    authority = Authority(account, chosen.settings.token_life_s)
    for text, project in chosen.tokens:
        authority.issue(project, FOREVER_S, text)
    return Server(assets, chosen.settings, authority)


async def listen(handler: Handler, host: str, port: int, held: AsyncExitStack) -> int:
    """Serve a handler on an address; the port taken.

    On 127.0.0.1 the same port of ::1 is served too where it can be, since `localhost` may mean either.
    """
    runner = web.ServerRunner(web.Server(handler, access_log=None, handler_cancellation=True))
    await runner.setup()
    held.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port, shutdown_timeout=0.1, backlog=1024)
    await site.start()
    taken = int(runner.addresses[0][1])
    if host in ("127.0.0.1", "localhost") and socket.has_ipv6:
        try:
            await web.TCPSite(runner, "::1", taken, shutdown_timeout=0.1, backlog=1024).start()
        except OSError:
            logging.getLogger(__name__).debug("::1 port %d is not to be had", taken)
    return taken


async def serve(server: Server, chosen: options.Options) -> int:
    """Listen, say where, and wait for the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as held:
        port = await listen(server.handle, chosen.host, chosen.port, held)
        shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        base = f"http://{shown}:{port}"
        if chosen.write_key is not None:
            keys.write(chosen.write_key, server.authority.account, f"{base}/token")
        lines = [base]
        if chosen.control_port is not None:
            control = Control(server)
            lines.append(
                f"control http://127.0.0.1:{await listen(control.handle, '127.0.0.1', chosen.control_port, held)}"
            )
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        if chosen.exit_with_stdin:
            Thread(target=_await_end_of_input, args=(loop, stop), daemon=True).start()
        await stop.wait()
    return 0


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop the emulator when whoever started it closes its end of the pipe, be it by dying."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(main())
