import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.flow.memory import MemoryBudget
from tests.virtual_clock import run_virtual


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_reservations_add_up_and_are_given_back():
    budget = MemoryBudget(100)
    await budget.reserve(60)
    await budget.reserve(40)
    await budget.reserve(0)
    assert (budget.used, budget.limit) == (100, 100)
    budget.release(100)
    assert budget.used == 0


async def test_a_large_reservation_is_not_overtaken():
    budget, order = MemoryBudget(100), []

    async def take(nbytes: int) -> None:
        await budget.reserve(nbytes)
        order.append(nbytes)

    await budget.reserve(90)
    async with anyio.create_task_group() as group:
        for nbytes in (80, 5, 6):
            group.start_soon(take, nbytes)
            await settle()
        assert order == []
        budget.release(50)
        await settle()
        assert order == []
        budget.release(40)
        await settle()
        assert order == [80, 5, 6]


async def test_a_cancelled_wait_takes_nothing_and_lets_the_next_go():
    budget = MemoryBudget(10)
    await budget.reserve(8)
    async with anyio.create_task_group() as group:
        first = anyio.CancelScope()

        async def wait() -> None:
            with first:
                await budget.reserve(9)

        group.start_soon(wait)
        await settle()
        group.start_soon(budget.reserve, 2)
        await settle()
        assert budget.used == 8
        first.cancel()
        await settle()
        assert budget.used == 10


@pytest.mark.parametrize("nbytes", [11, -1])
async def test_what_could_never_be_served_is_refused(nbytes: int):
    with pytest.raises(ValueError, match="cannot reserve"):
        await MemoryBudget(10).reserve(nbytes)


def test_more_than_is_reserved_is_not_released():
    with pytest.raises(ValueError, match="cannot release"):
        MemoryBudget(10).release(1)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one byte"):
        MemoryBudget(0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.booleans()), max_size=30))
def test_never_over_the_limit_and_everybody_is_served(orders: list[tuple[int, int, bool]]):
    """(bytes, seconds held, gives up waiting after 3 s) in any mix: the bound holds and nothing is left over."""

    async def main() -> None:
        budget, served = MemoryBudget(50), []

        async def use(nbytes: int, seconds: int) -> None:
            await budget.reserve(nbytes)
            assert budget.used <= 50
            await anyio.sleep(seconds)
            budget.release(nbytes)
            served.append(nbytes)

        async def use_or_leave(nbytes: int) -> None:
            with anyio.move_on_after(3) as scope:
                await budget.reserve(nbytes)
            if not scope.cancelled_caught:
                budget.release(nbytes)

        async with anyio.create_task_group() as group:
            for nbytes, seconds, leaves in orders:
                group.start_soon(use_or_leave, nbytes) if leaves else group.start_soon(use, nbytes, seconds)
        assert budget.used == 0
        assert len(served) == sum(not leaves for _, _, leaves in orders)

    run_virtual(main)
