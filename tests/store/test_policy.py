"""The policy is fair within its rules: tiers, shares, age; reservations that nobody delays; and reasons in words."""

import itertools
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from store.policy import ANYWHERE, DAY, HOUR, Free, Limit, Line, Pending, Plan, Running, Wants, plan
from store.states import DeviceKind, Priority

CPU, GPU = DeviceKind.cpu, DeviceKind.gpu
IDS = st.uuids()


def offers(name: str, kind: DeviceKind, free: int, total: int | None = None, foreign: int = 0) -> Free:
    devices = tuple(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{kind}/{i}") for i in range(free))
    return Free(uuid.uuid5(uuid.NAMESPACE_URL, name), name, kind, devices, free if total is None else total, foreign)


AGES = itertools.count(1_000_000, -1)


def job(devices: int, kind: DeviceKind = GPU, **more: object) -> Pending:
    """Each is a moment younger than the one before."""
    return Pending(uuid.uuid4(), kind, devices, **{"submitted_s": -next(AGES) / 1e4, **more})  # type: ignore[arg-type]


MODELS = st.sampled_from(["H200", "A100"])
WANTS = st.sampled_from(
    [ANYWHERE, ANYWHERE, Wants("h200"), Wants(None, (("rack", "1"),)), Wants("A100", (("rack", "2"),))]
)
NODES = st.lists(
    st.tuples(st.sampled_from([CPU, GPU]), st.integers(0, 8), st.integers(0, 4), MODELS, st.sampled_from("12")),
    min_size=0, max_size=6,
).map(lambda drawn: [
    offers(f"n{i}", kind, free, free + held)._replace(model=model, labels={"rack": rack})
    for i, (kind, free, held, model, rack) in enumerate(drawn)
])  # fmt: skip
JOBS = st.lists(
    st.tuples(
        st.integers(1, 8), st.sampled_from([1, 1, 2, 3]), st.sampled_from([CPU, GPU]), st.sampled_from([0.0, 0.0, 5.0]),
        WANTS,
    ),
    max_size=12,
).map(lambda drawn: [
    job(each * nodes, kind, until_s=wait, nodes=nodes, wants=wants) for each, nodes, kind, wait, wants in drawn
])  # fmt: skip


@settings(deadline=None)
@given(JOBS, NODES)
def test_a_plan_gives_each_device_once_and_every_job_a_place_or_a_reason(
    pending: list[Pending], nodes: list[Free]
) -> None:
    made = plan(pending, nodes)
    given_out = [device for placement in made.placements for spot in placement.spots for device in spot.devices]
    assert len(set(given_out)) == len(given_out)
    wanted = {one.id: one for one in pending}
    for placement in made.placements:
        one = wanted[placement.job]
        assert len({spot.node for spot in placement.spots}) == one.nodes
        used = {node.node: node.alike for node in nodes}
        assert len({used[spot.node] for spot in placement.spots}) == 1
        for spot in placement.spots:
            (node,) = [n for n in nodes if n.node == spot.node and n.kind is one.kind]
            assert one.wants.fit(node.model, node.labels)
            assert set(spot.devices) <= set(node.free)
            assert len(spot.devices) == one.each
    assert {p.job for p in made.placements} | set(made.waiting) == set(wanted)
    assert not {p.job for p in made.placements} & set(made.waiting)


@settings(deadline=None)
@given(JOBS, NODES)
def test_nobody_who_could_run_is_overtaken_by_one_who_may_run_as_long(
    pending: list[Pending], nodes: list[Free]
) -> None:
    """Jobs of a day each: a later one starts before an earlier one only where it takes nothing from it."""
    made = plan(pending, nodes)
    placed = {placement.job for placement in made.placements}
    for kind in (CPU, GPU):
        able = [
            one for one in pending
            if one.kind is kind and one.wants == ANYWHERE and one.nodes == 1 and not one.until_s
            and any(n.kind is kind and n.total >= one.devices for n in nodes)
        ]  # fmt: skip
        first = next((place for place, one in enumerate(able) if one.id not in placed), len(able))
        assert all(one.id in placed for one in able[:first])


def test_the_node_with_the_fewest_left_over_is_taken() -> None:
    nodes = [offers("big", GPU, 8), offers("small", GPU, 3)]
    assert plan([job(2)], nodes).placements[0].spots[0].node == nodes[1].node


NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def holds(node: Free, devices: int, left_s: float, name: str = "running") -> Running:
    return Running(uuid.uuid5(uuid.NAMESPACE_URL, name), node.node, node.kind, devices, left_s)


def test_a_gang_does_not_start_in_part_and_says_what_is_free_and_until_when() -> None:
    wide = job(8)
    nodes = [offers("gpu-01", GPU, 3, 8), offers("gpu-02", GPU, 5, 8)]
    running = [holds(nodes[0], 5, 2 * HOUR, "short"), holds(nodes[1], 3, 3 * HOUR, "long")]
    made = plan([wide], nodes, running, now=NOON)
    assert made.placements == []
    first = running[0].job
    assert made.waiting[wide.id] == (
        "resources",
        f"needs 8 GPUs on one node; most free: 5 on gpu-02. Expected 14:00 UTC, when job {first} should end",
        NOON.replace(hour=14),
    )


def test_a_short_one_is_filled_in_where_it_delays_nobody() -> None:
    """EASY: before the reserved start, on devices that the reserved job leaves, or on another node."""
    node = offers("a", GPU, 2, 4)
    running = [holds(node, 2, HOUR)]
    wide, long_, short = job(4), job(1, runtime_s=1.1 * HOUR), job(1, runtime_s=0.9 * HOUR)
    made = plan([wide, long_, short], [node], running)
    assert [placement.job for placement in made.placements] == [short.id]
    assert made.waiting[long_.id].code == "reserved"
    assert made.waiting[long_.id].text.startswith(f"2 GPUs on a free but kept for job {wide.id}")
    full = offers("b", GPU, 0, 4)
    pair, late = job(8, nodes=2), job(1)
    made = plan([pair, late], [node, full], [*running, holds(full, 4, HOUR, "other")])
    assert made.waiting[late.id].text.startswith("2 GPUs on a free but kept")  # of b nothing is free
    three, one, two = job(3), job(1), job(1)
    assert [p.job for p in plan([three, one, two], [node], running).placements] == [one.id]  # 4 - 3 is 1
    other = offers("b", GPU, 1, 1)
    (there,) = plan([three, two], [offers("a", GPU, 0, 4), other], [holds(node, 4, HOUR)]).placements
    assert there.spots[0].node == other.node


def work(nodes: st.SearchStrategy[int]) -> st.SearchStrategy[list[Pending]]:
    return st.lists(
        st.tuples(st.integers(1, 4), nodes, st.integers(1, 9), st.integers(0, 3), st.sampled_from("ab"), WANTS),
        min_size=1, max_size=14,
    ).map(lambda drawn: [
        job(each * nodes, nodes=nodes, runtime_s=float(hours), tier=tier, owner=owner, submitted_s=float(i - 100),
            wants=wants if wants.labels else ANYWHERE)
        for i, (each, nodes, hours, tier, owner, wants) in enumerate(drawn)
    ])  # fmt: skip


WORK = work(st.sampled_from([1, 1, 2, 3]))


def racked(name: str, free: int, total: int) -> Free:
    return offers(name, GPU, free, total)._replace(labels={"rack": "12"[int(name) % 2]})


def played(pending: Sequence[Pending], sizes: Sequence[int]) -> dict[uuid.UUID, float]:
    """When each job starts, where every pass is this policy's and every job runs for as long as it may."""
    starts: dict[uuid.UUID, float] = {}
    waiting, held, now = list(pending), list[tuple[float, Pending, uuid.UUID]](), 0.0
    names = {offers(str(i), GPU, size).node: (str(i), size) for i, size in enumerate(sizes)}
    while waiting:
        held = [one for one in held if one[0] > now]
        busy = {node: sum(one.each for _, one, at in held if at == node) for node in names}
        nodes = [racked(name, size - busy[node], size) for node, (name, size) in names.items()]
        running = [Running(one.id, at, GPU, one.each, end - now) for end, one, at in held]
        made = plan(waiting, nodes, running)
        by_id = {one.id: one for one in waiting}
        for placement in made.placements:
            starts[placement.job] = now
            one = by_id[placement.job]
            held += [(now + one.runtime_s, one, spot.node) for spot in placement.spots]
        waiting = [one for one in waiting if one.id not in starts]
        stuck = waiting and all(why.code == "infeasible" for why in made.waiting.values())
        if stuck:
            break
        now = min((end for end, *_ in held), default=now)
    return starts


@settings(deadline=None)
@given(WORK, st.lists(st.integers(2, 4), min_size=1, max_size=3))
def test_what_is_filled_in_never_delays_the_reserved_job(pending: list[Pending], sizes: list[int]) -> None:
    """The first that does not fit starts when it was told, if nobody earlier in line comes."""
    nodes = [racked(str(i), size, size) for i, size in enumerate(sizes)]
    made = plan(pending, nodes, now=NOON)
    told = [job for job, why in made.waiting.items() if why.start]
    starts = played(pending, sizes)
    for first in told:
        start = made.waiting[first].start
        assert start is not None
        assert starts[first] <= (start - NOON).total_seconds()


@settings(deadline=None)
@given(WORK, st.lists(st.integers(4, 4), min_size=6, max_size=7))
def test_everybody_who_fits_runs_in_the_end(pending: list[Pending], sizes: list[int]) -> None:
    able = [one for one in pending if one.wants.model is None]
    assert set(played(able, sizes)) == {one.id for one in able}


def test_tiers_go_first_then_those_who_used_less_then_the_older() -> None:
    usage = {("p", "ana"): 5 * HOUR, ("p", "ben"): HOUR, ("q", "eva"): 5.5 * HOUR}
    ana, ben = job(1, project="p", owner="ana", submitted_s=-90.0), job(1, project="p", owner="ben", submitted_s=-10.0)
    eva, new = job(1, project="q", owner="eva", submitted_s=-99.0), job(1, project="r", owner="new", submitted_s=-1.0)
    lowest = job(1, tier=Priority.low.rank, project="r", owner="new", submitted_s=-500.0)
    older = job(1, project="p", owner="ben", submitted_s=-50.0)
    order = [one.id for one in Line([lowest, ana, ben, eva, new, older], usage)]
    assert order == [one.id for one in (new, eva, older, ben, ana, lowest)]


def test_equal_ones_take_turns_within_a_pass() -> None:
    pending = [job(1, owner=owner, submitted_s=i - 100.0) for i, owner in enumerate("aaabbb")]
    made = plan(pending, [offers("n", GPU, 4, 4)])
    owners = {one.id: one.owner for one in pending}
    assert [owners[placement.job] for placement in made.placements] == ["a", "b", "a", "b"]


def test_whoever_is_overtaken_for_having_used_more_is_told() -> None:
    mine, theirs = job(1, owner="me", submitted_s=-90.0), job(1, owner="eva", submitted_s=-5.0)
    node = offers("n", GPU, 0, 1)
    made = plan([mine, theirs], [node], [holds(node, 1, HOUR)], {("", "me"): 412 * HOUR, ("", "eva"): 80 * HOUR})
    assert made.waiting[mine.id] == (
        "fair_share", f"1 job ahead; next is {theirs.id}; you used 412 GPU-hours of late, eva 80", None
    )  # fmt: skip


def test_between_projects_it_is_theirs_that_count_and_are_told() -> None:
    mine, theirs = (
        job(1, project="audio", owner="me", submitted_s=-90.0),
        job(1, project="video", owner="eva", submitted_s=-5.0),
    )
    node, usage = offers("n", GPU, 0, 1), {("audio", "ana"): 0.2 * HOUR, ("video", "eva"): 0.05 * HOUR}
    made = plan([mine, theirs], [node], [holds(node, 1, HOUR)], usage)
    assert made.waiting[mine.id].text == (
        f"1 job ahead; next is {theirs.id}; your project audio used 0.2 GPU-hours of late, video 0.05"
    )


def test_each_day_of_waiting_halves_what_was_used_and_a_week_lifts_the_lowest_tier() -> None:
    usage = {("", "greedy"): 1000 * HOUR, ("", "new"): 10 * HOUR}
    starved, fresh = job(1, owner="greedy", submitted_s=-6.7 * DAY), job(1, owner="new", submitted_s=0.0)
    assert [one.id for one in Line([fresh, starved], usage)] == [starved.id, fresh.id]
    starved = starved._replace(submitted_s=-6.6 * DAY)
    lifted = job(1, tier=Priority.low.rank, owner="new", submitted_s=-7 * DAY - 1)
    high = job(1, tier=Priority.high.rank, owner="greedy")
    assert [one.id for one in Line([lifted, fresh, starved, high], usage)] == [high.id, lifted.id, fresh.id, starved.id]


def told(made: Plan, one: Pending) -> tuple[str, str]:
    return made.waiting[one.id].code, made.waiting[one.id].text


def test_the_kinds_do_not_wait_for_each_other() -> None:
    made = plan([job(8), job(1, CPU)], [offers("a", GPU, 0, 8), offers("a", CPU, 1)])
    assert len(made.placements) == 1


def test_who_backs_off_or_cannot_run_here_keeps_nobody_waiting() -> None:
    back, never, ready = job(1, until_s=3.0, until_text="restart 1"), job(16), job(1)
    made = plan([back, never, ready], [offers("a", GPU, 1, 8)])
    assert [p.job for p in made.placements] == [ready.id]
    assert told(made, back) == ("backoff", "restart 1")
    assert made.waiting[never.id].code == "infeasible"


def test_devices_that_others_hold_are_named() -> None:
    wide = job(2)
    made = plan([wide], [offers("gpu-03", GPU, 1, 2, foreign=1)])
    assert made.waiting[wide.id].code == "foreign_process"
    assert "gpu-03" in made.waiting[wide.id].text


def test_long_queues_have_rounded_texts() -> None:
    pending = [job(1, submitted_s=i - 100.0) for i in range(60)]
    node = offers("a", GPU, 0, 1)
    made = plan(pending, [node], [holds(node, 1, HOUR)])
    assert told(made, pending[20]) == ("priority", f"20 jobs ahead; next is {pending[0].id}")
    assert told(made, pending[-1]) == ("priority", f"more than 50 jobs ahead; next is {pending[0].id}")


def test_whoever_holds_all_that_is_allowed_waits_and_nobody_behind_does() -> None:
    node = offers("n", GPU, 4, 8)
    mine = [job(2, owner="ana", project="p") for _ in range(2)]
    other, cpu = job(1, owner="ben", project="p"), job(1, CPU, owner="ana", project="p")
    running = [Running(uuid.uuid4(), node.node, GPU, 4, HOUR, owner="ana", project="p")]
    limits = {"user:ana": Limit(gpus=6), "project:p": Limit(running=3)}
    made = plan([*mine, other, cpu], [node, offers("n", CPU, 1)], running, limits=limits)
    assert {placement.job for placement in made.placements} == {mine[0].id, other.id, cpu.id}
    assert told(made, mine[1]) == ("quota", "your running jobs hold 6 of the 6 GPUs allowed; this one needs 2")
    late = job(1, owner="eva", project="p")
    full = plan([*mine, other, late], [node], running, limits=limits)
    assert told(full, late) == ("quota", "project p's running jobs are 3 of the 3 allowed")


@settings(deadline=None)
@given(JOBS, NODES, st.integers(0, 6), st.integers(0, 4))
def test_no_plan_breaks_a_quota(pending: list[Pending], nodes: list[Free], gpus: int, running: int) -> None:
    placed = {placement.job for placement in plan(pending, nodes, limits={"user:": Limit(gpus, running)}).placements}
    on_gpus = [one for one in pending if one.id in placed and one.kind is GPU]
    assert sum(one.devices for one in on_gpus) <= gpus
    assert len(on_gpus) <= running


def test_a_double_share_counts_half_of_what_was_used() -> None:
    usage = {("p", "ana"): 3 * HOUR, ("q", "ben"): 2 * HOUR}
    ana, ben = job(1, project="p", owner="ana"), job(1, project="q", owner="ben")
    assert [one.id for one in Line([ana, ben], usage)] == [ben.id, ana.id]
    assert [one.id for one in Line([ana, ben], usage, {"project:p": Limit(share=2.0)})] == [ana.id, ben.id]


HIGH, LOW = Priority.high.rank, Priority.low.rank


def low(node: Free, devices: int, name: str, **more: object) -> Running:
    known: dict[str, object] = {"tier": LOW, "ran_s": HOUR, "unsaved_s": 60.0}
    return holds(node, devices, 10 * HOUR, name)._replace(**(known | more))


def test_the_fewest_of_lower_tiers_with_the_least_to_lose_leave_for_the_first_in_line() -> None:
    a, b = offers("a", GPU, 0, 4), offers("b", GPU, 1, 4)
    wide = job(3, tier=HIGH)
    small = [low(a, 1, f"small{i}") for i in range(4)]
    two, other = low(b, 2, "two", unsaved_s=600.0), low(b, 1, "one", unsaved_s=10.0)
    made = plan([wide], [a, b], [*small, two, other])
    assert made.victims == {two.job: wide.id}  # one victim of b and its free device, not three of a
    assert made.waiting[wide.id].text == (
        f"needs 3 GPUs on one node; most free: 1 on b; asked to save and leave for it: job {two.job}"
    )
    narrow = plan([job(2, tier=HIGH)], [a, b], [*small, two, other])
    assert list(narrow.victims) == [other.job]  # as few, with less to lose


def test_among_equally_many_those_of_the_lowest_tier_leave_though_others_have_less_to_lose() -> None:
    node = offers("a", GPU, 0, 2)
    normal, lowest = (
        low(node, 1, "normal", tier=Priority.normal.rank, unsaved_s=0.0),
        low(node, 1, "low", unsaved_s=90.0),
    )
    urgent = job(1, tier=Priority.urgent.rank)
    assert list(plan([urgent], [node], [normal, lowest]).victims) == [lowest.job]


def test_what_is_freed_by_preemption_is_kept_and_nobody_else_is_asked_meanwhile() -> None:
    node = offers("a", GPU, 1, 2)
    leaving = low(node, 1, "leaving", stopping=True, left_s=120.0)
    wide, next_ = job(2, tier=HIGH), job(1, tier=HIGH)
    made = plan([wide, next_], [node], [leaving])
    assert (made.victims, made.placements) == ({}, [])
    assert made.waiting[next_.id].code == "reserved"
    fresh = plan([wide, next_], [node], [low(node, 1, "still")])
    assert (len(fresh.victims), fresh.placements) == (1, [])


@settings(deadline=None)
@given(st.data())
def test_only_the_willing_of_lower_tiers_that_have_run_leave(data: st.DataObject) -> None:
    node = offers("a", GPU, 0, 4)
    flag, tier = st.booleans(), st.integers(0, 3)
    running = [
        low(node, 1, f"r{i}", tier=data.draw(tier), preemptible=data.draw(flag), spared=data.draw(flag),
            ran_s=data.draw(st.sampled_from([599.0, 600.0])))
        for i in range(4)
    ]  # fmt: skip
    first = job(
        data.draw(st.integers(1, 4)), tier=data.draw(tier), submitted_s=data.draw(st.sampled_from([-59.0, -60.0]))
    )
    by_id = {one.job: one for one in running}
    victims = [by_id[victim] for victim in plan([first], [node], running).victims]
    for one in victims:
        willing = one.preemptible or one.tier == LOW or (first.tier == 0 and one.tier == Priority.normal.rank)
        assert (one.tier > first.tier, willing, one.ran_s >= 600, one.spared) == (True, True, True, False)
    assert not victims or (first.submitted_s <= -60 and len(victims) == first.devices)


def test_a_job_over_several_nodes_starts_on_nodes_that_are_alike_or_not_at_all() -> None:
    nodes = [
        offers(f"n{i}", GPU, free, 8)._replace(model=model, storage=storage)
        for i, (free, model, storage) in enumerate(
            [(4, "H200", "s"), (8, "A100", "s"), (3, "H200", "t"), (6, "H200", "s")]
        )
    ]
    wide = job(8, nodes=2)
    (placed,) = plan([wide], nodes).placements
    assert {spot.node for spot in placed.spots} == {nodes[0].node, nodes[3].node}
    assert [len(spot.devices) for spot in placed.spots] == [4, 4]
    running = [holds(nodes[0], 4, HOUR, "a"), holds(nodes[3], 2, 2 * HOUR, "b")]
    wider, short, long_ = job(16, nodes=2), job(4, runtime_s=HOUR), job(2, runtime_s=3 * HOUR, wants=Wants("H200"))
    made = plan([wider, short, long_], nodes, running, now=NOON)
    assert told(made, wider) == (
        "resources",
        "needs 8 GPUs on each of 2 nodes; so many are free on 1 of 4. "
        f"Expected 14:00 UTC, when job {running[1].job} should end",
    )
    assert {placement.job: placement.spots[0].node for placement in made.placements} == {
        short.id: nodes[0].node,  # back before it is needed
        long_.id: nodes[2].node,  # on the one node of its model that is not kept
    }
    never = job(3, nodes=3, wants=Wants("h200"))
    assert told(plan([never], nodes), never) == (
        "infeasible",
        "needs 1 GPU on each of 3 nodes of model h200; 2 that work now have as many, one GPU model and one storage",
    )


def test_each_choice_of_nodes_has_a_reservation_of_its_own() -> None:
    """Who waits for one model keeps nobody from a reservation on the other."""
    nodes = [offers(name, GPU, 1, 4)._replace(model=name) for name in ("H200", "A100")]
    running = [holds(nodes[0], 3, HOUR, "h"), holds(nodes[1], 3, 2 * HOUR, "a")]
    first, second = job(4, wants=Wants("H200")), job(4, wants=Wants("A100"))
    small = [job(1, wants=one.wants) for one in (first, second)]
    made = plan([first, second, *small], nodes, running, now=NOON)
    assert made.placements == []
    starts = [made.waiting[one.id].start for one in (first, second)]
    assert starts == [NOON.replace(hour=13), NOON.replace(hour=14)]
    assert [made.waiting[one.id].code for one in small] == ["reserved", "reserved"]


def test_a_job_goes_only_where_labels_and_model_match() -> None:
    nodes = [
        offers("a", GPU, 1)._replace(model="NVIDIA A100-SXM4", labels={"disk": "nvme"}),
        offers("b", GPU, 4)._replace(model="NVIDIA H200", labels={"disk": "nvme", "rack": "2"}),
    ]
    wants = Wants("h200", (("disk", "nvme"), ("rack", "2")))
    assert plan([job(1, wants=wants)], nodes).placements[0].spots[0].node == nodes[1].node
    nowhere = job(1, wants=Wants("H200", (("rack", "3"),)))
    assert told(plan([nowhere], nodes), nowhere) == (
        "infeasible",
        "needs 1 GPU on one node of model H200 labelled rack=3; no node of model H200 labelled rack=3 works now",
    )


def test_for_several_nodes_the_cheapest_of_each_leave_and_one_on_two_counts_once() -> None:
    nodes = [offers(name, GPU, 0, 2) for name in "abc"]
    both = [low(nodes[0], 2, "both", unsaved_s=900.0), low(nodes[1], 2, "both", unsaved_s=900.0)]
    alone = low(nodes[2], 2, "alone", unsaved_s=9000.0)
    wide = job(4, nodes=2, tier=HIGH)
    made = plan([wide], nodes, [*both, alone])
    assert made.victims == {both[0].job: wide.id}
    assert made.waiting[wide.id].text.endswith(f"asked to save and leave for it: job {both[0].job}")
    limited = plan([job(1, owner="ana")], [offers("d", GPU, 1)], [one._replace(owner="ana") for one in both],
                   limits={"user:ana": Limit(running=2)})  # fmt: skip
    assert len(limited.placements) == 1, "one job on two nodes is one job"
