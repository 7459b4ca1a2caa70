import random

from downloader.flow.concurrency import AdaptiveConcurrency, Ticket


class Job:
    """A job that always has as many requests under way as it may, all of which take one second."""

    def __init__(self, most: int) -> None:
        self.ceiling = AdaptiveConcurrency(most, random.Random(1), 0.0)
        self.now = 0.0
        self.serial = 0
        self.under_way: list[Ticket] = []

    def fill(self) -> None:
        while len(self.under_way) < self.ceiling.limit:
            self.under_way.append(Ticket(self.serial, len(self.under_way) + 1, self.now))
            self.serial += 1

    def refuse_newest(self) -> bool:
        ticket = self.under_way.pop()
        return self.ceiling.refused(ticket, len(self.under_way) + 1, self.serial, self.now)

    def answer_oldest(self) -> None:
        self.ceiling.answered(self.under_way.pop(0), self.serial, self.now)

    def round_trip(self) -> None:
        """All that are under way are answered, one after the other, and followed by new ones."""
        self.fill()
        for _ in range(len(self.under_way)):
            self.now += 1 / len(self.under_way)
            self.answer_oldest()
            self.fill()


def test_it_starts_at_the_configured_number_and_stays_there():
    job = Job(40)
    for _ in range(50):
        job.round_trip()
    assert job.ceiling.limit == 40


def test_the_first_refusal_shows_the_ceiling_without_halving():
    job = Job(40)
    while len(job.under_way) < 11:
        job.under_way.append(Ticket(job.serial, len(job.under_way) + 1, 0.0))
        job.serial += 1
    assert not job.refuse_newest()
    assert job.ceiling.limit == 10


def test_it_halves_once_for_all_requests_of_a_round_trip():
    job = Job(40)
    job.round_trip()
    job.round_trip()
    for _ in range(5):
        job.refuse_newest()
    assert job.ceiling.limit == 20
    while len(job.under_way) > 15:
        job.answer_oldest()
    job.fill()
    job.refuse_newest()
    assert job.ceiling.limit == 10


def test_it_climbs_to_one_below_the_level_refused_and_waits_there():
    job = Job(40)
    job.round_trip()
    job.refuse_newest()
    levels = [job.ceiling.limit]
    for _ in range(13):
        job.round_trip()
        levels.append(job.ceiling.limit)
    assert levels[0] == 20
    assert levels == sorted(levels)
    assert levels[-1] == 39
    assert job.now < 15


def test_it_probes_by_one_after_15_s_and_a_failed_probe_halves_nothing():
    job = Job(40)
    job.round_trip()
    job.refuse_newest()
    started = job.now
    while job.ceiling.limit < 39:
        job.round_trip()
    while job.ceiling.limit == 39:
        job.answer_oldest()
        job.now += 1 / 39
        job.fill()
    assert job.ceiling.limit == 40
    assert 15 <= job.now - started < 18
    job.fill()
    job.refuse_newest()
    assert job.ceiling.limit == 39


def test_a_successful_probe_goes_on_by_growing_steps():
    job = Job(400)
    job.fill()
    job.under_way = job.under_way[:11]
    job.refuse_newest()
    assert job.ceiling.limit == 10
    levels: list[int] = []
    while job.ceiling.limit < 400:
        job.round_trip()
        levels.append(job.ceiling.limit)
    risen = sorted(set(levels) - {10})
    assert risen[-1] == 400
    assert 15 < job.now < 30


def test_slow_services_are_probed_after_enough_answers_or_24_s():
    job = Job(40)
    job.fill()
    job.under_way = job.under_way[:2]
    job.refuse_newest()
    assert job.ceiling.limit == 1
    while job.ceiling.limit == 1:
        job.round_trip()
    assert 24 <= job.now < 26


def test_an_unfilled_limit_is_not_raised():
    job = Job(40)
    job.round_trip()
    job.refuse_newest()
    limit = job.ceiling.limit
    for n in range(100):
        job.ceiling.answered(Ticket(job.serial, limit - 1, 0.0), job.serial, n / 10)
        job.serial += 1
    assert job.ceiling.limit == limit


def test_overtaking_requests_do_not_show_too_low_a_ceiling():
    """The first of a burst is refused because later ones arrived before it."""
    job = Job(40)
    job.fill()
    first = job.under_way.pop(0)
    job.under_way = job.under_way[:7]
    job.ceiling.refused(first, 8, job.serial, 0.0)
    assert job.ceiling.limit == 7


def test_a_refusal_of_the_only_request_means_that_nothing_is_allowed():
    ceiling = AdaptiveConcurrency(40, random.Random(1), 0.0)
    assert ceiling.refused(Ticket(0, 1, 0.0), 1, 1, 0.0)
    assert ceiling.limit == 1
    ceiling.forget(1)
    assert ceiling.limit == 2


def test_the_configured_number_can_change():
    job = Job(40)
    job.round_trip()
    job.ceiling.set_most(10, job.serial)
    assert job.ceiling.limit == 10
    job.under_way = job.under_way[:10]
    job.ceiling.set_most(30, job.serial)
    while job.ceiling.limit < 30:
        job.round_trip()
    assert job.now < 12


def test_a_late_refusal_of_a_request_from_before_the_cut_does_not_cut_again():
    job = Job(40)
    job.round_trip()
    job.refuse_newest()
    assert job.ceiling.limit == 20
    assert not job.ceiling.refused(Ticket(3, 15, 0.0), 15, job.serial, job.now)
    assert job.ceiling.limit == 20
