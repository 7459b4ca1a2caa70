"""A kernel of Jupyter, as notebooks have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness import PATIENCE_S, ROOT, environment


class Kernel:
    """A kernel of Jupyter; `run` yields the messages that a cell brings, until it is done."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import start_new_kernel  # half a second that few tests need

        self.manager, self._client = start_new_kernel(
            kernel_name="python3", cwd=str(folder), env=environment(PYTHONPATH=str(ROOT))
        )

    def run(self, code: str) -> Iterator[tuple[str, dict[str, Any]]]:
        asked = self._client.execute(code)
        while True:
            message = self._client.get_iopub_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["content"].get("execution_state") == "idle":
                return
            yield message["msg_type"], message["content"]

    def close(self) -> None:
        self._client.stop_channels()
        self.manager.shutdown_kernel(now=True)
