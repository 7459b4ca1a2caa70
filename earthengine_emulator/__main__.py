"""`python -m earthengine_emulator`: serve until stopped."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from threading import Thread

from earthengine_emulator.catalogue import catalogue
from earthengine_emulator.data import built_in, rasters, stores
from earthengine_emulator.server import keys, options
from earthengine_emulator.server.auth import Authority
from earthengine_emulator.server.control import Control
from earthengine_emulator.server.listening import Listener
from earthengine_emulator.server.server import Server


def main(arguments: list[str] | None = None, prog: str = options.PROG) -> int:
    """Run an emulator; the exit status of the process."""
    try:
        chosen = options.parse(arguments, prog)
        server = build(chosen)
    except (options.UsageError, keys.KeyFileError, rasters.RasterError) as error:
        print(f"{prog}: {error}", file=sys.stderr)  # noqa: T201 - this is the program's own message
        return 2
    try:
        return asyncio.run(serve(server, chosen))
    except OSError as error:
        print(f"{prog}: {error}", file=sys.stderr)  # noqa: T201
        return 1


def build(chosen: options.Options) -> Server:
    """Return the emulator's parts as the options want them, not yet listening."""
    assets = built_in.catalogue()
    for id_, path in chosen.rasters:
        module = stores if stores.is_store(path) else rasters
        module.add(assets, catalogue.asset_name(id_), path)
    for id_, folder in chosen.folders:
        rasters.add_collection(assets, catalogue.asset_name(id_), folder)
    reuse = chosen.write_key is not None and chosen.write_key.exists()
    account = keys.load(chosen.write_key) if reuse and chosen.write_key else keys.create()
    authority = Authority(account, chosen.settings.token_life_s)
    for text, project in chosen.tokens:
        authority.issue(project, math.inf, text)
    return Server(assets, chosen.settings, authority)


async def serve(server: Server, chosen: options.Options) -> int:
    """Listen, say where, and wait for the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows, where Ctrl-C ends the process
            loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as held:
        listener = Listener(server.handle, chosen.host, any_name=chosen.allow_remote)
        held.push_async_callback(listener.stop)
        port = await listener.start(chosen.port)
        server.outage = listener.refuse
        shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        base = f"http://{shown}:{port}"
        if chosen.write_key is not None:
            keys.write(chosen.write_key, server.authority.account, f"{base}/token")
        lines = [base]
        if chosen.control_port is not None:
            control = Listener(Control(server).handle, "127.0.0.1")
            held.push_async_callback(control.stop)
            lines.append(f"control http://127.0.0.1:{await control.start(chosen.control_port)}")
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
