"""A seed says all that is drawn."""

from collections import Counter

from chaos.schedule import LONG, REAL_EVERY, SHORT, draw


def test_a_seed_gives_the_same_schedule_again_and_another_one_another() -> None:
    assert draw(7, 10.0) == draw(7, 10.0)
    assert draw(7, 10.0) != draw(8, 10.0)


def test_two_hundred_runs_have_every_fault_and_every_kind_of_job() -> None:
    schedules = [draw(seed, 10.0) for seed in range(1, 201)]
    struck = Counter(fault.name for schedule in schedules for fault in schedule.faults)
    assert struck.keys() == SHORT.keys() | LONG.keys()
    assert min(struck.values()) >= 8
    requests = [request for schedule in schedules for request in schedule.requests]
    assert {request.edge for request in requests} == {"none", "afterok", "afterany"}
    assert {request.wish for request in requests} == {"none", "cancel", "pause"}
    assert {request.course.ail for request in requests if request.course} == {
        "nothing", "bug", "user_error", "disk_full",
    }  # fmt: skip
    assert sum(request.course is None for request in requests) == len(schedules) / REAL_EVERY


def test_a_run_asks_for_nothing_that_is_not_there_yet() -> None:
    """An edge leads to the request before; the first has none."""
    for seed in range(1, 201):
        first = draw(seed, 10.0).requests[0]
        assert first.edge == "none"
