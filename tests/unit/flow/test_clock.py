from collections.abc import Awaitable, Callable

import anyio
import pytest

from downloader.flow.clock import MonotonicClock, Patience
from tests.virtual_clock import VirtualClock, run_virtual


async def test_the_real_clock_goes_forward_and_sleeps():
    clock = MonotonicClock()
    before = clock.now()
    await clock.sleep(0.001)
    await clock.sleep(-1)
    assert before < clock.now() < before + 5


def test_patience_runs_out_after_its_limit():
    patience = Patience(100, now=50)
    assert not any(patience.spend(now) for now in range(60, 150, 10))
    assert patience.left_s == 10
    assert patience.spend(150)


def test_a_leap_of_the_clock_does_not_use_up_patience():
    patience = Patience(100, now=0)
    assert not patience.spend(36_000)
    assert patience.spent_s == 20
    assert not patience.spend(35_000)
    assert patience.spent_s == 20


def test_virtual_hours_pass_at_once_and_in_order():
    seen: list[tuple[float, str]] = []

    async def note(clock: VirtualClock, seconds: float, name: str) -> None:
        await clock.sleep(seconds)
        seen.append((clock.now(), name))

    async def main() -> float:
        clock = VirtualClock()
        async with anyio.create_task_group() as group:
            for seconds, name in ((7200, "c"), (1, "a"), (3600, "b")):
                group.start_soon(note, clock, seconds, name)
        with anyio.move_on_after(60):
            await anyio.sleep_forever()
        return clock.now()

    assert run_virtual(main) == 7260
    assert seen == [(1, "a"), (3600, "b"), (7200, "c")]


def test_a_virtual_clock_can_jump():
    async def main() -> float:
        clock = VirtualClock()
        clock.jump(100)
        await clock.sleep(1)
        return clock.now()

    assert run_virtual(main) == 101


async def wait_for_nothing() -> None:
    await anyio.Event().wait()


@pytest.mark.parametrize("main", [wait_for_nothing, anyio.sleep_forever])
def test_a_deadlock_in_virtual_time_is_an_error(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[], Awaitable[None]]
):
    monkeypatch.setattr("tests.virtual_clock.DEADLOCK_S", 0.01)
    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtual(main)
