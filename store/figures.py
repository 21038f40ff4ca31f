"""Counts, ages and waits for whoever runs the machines, read in one short transaction at each scrape (API 8)."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select, text
from sqlalchemy.orm import Session, aliased

from store import outbox, retention
from store.ends import ENDS, Budget
from store.leaders import SCHEDULER
from store.states import LIVE_PARTS, DeviceKind, JobState, Priority
from store.tables import Attempt, Device, DeviceLease, Job, Leader, Node, Outbox, Part, Webhook
from store.webhooks import KIND as WEBHOOK

QUANTILES = (0.5, 0.9, 0.99)
WAITS_OF, RECOVERIES_OF, DELIVERIES_OF = timedelta(hours=1), timedelta(days=1), timedelta(hours=1)  # until now
FAULTS = [reason for reason, end in ENDS.items() if end.budget is Budget.infra]


class Figure(NamedTuple):
    """One family of numbers, in Prometheus' terms."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: list[tuple[tuple[str, ...], float]]
    counter: bool = False


def read(session: Session) -> list[Figure]:
    """All of them."""
    return [
        *_jobs(session),
        *_waits(session),
        *_devices(session),
        *_attempts(session),
        _recoveries(session),
        *_ages(session),
        *_leaders(session),
        *_retention(session),
        *_webhooks(session),
        _points(session),
    ]


def _jobs(session: Session) -> list[Figure]:
    states = session.execute(select(Job.state, Job.kind, func.count()).group_by(Job.state, Job.kind)).all()
    failed = select(Job.reason, func.count()).where(Job.state == JobState.failed).group_by(Job.reason)
    return [
        Figure("cmac_jobs", "Jobs by state and kind.", ("state", "kind"), _labelled(states)),
        Figure("cmac_jobs_failed", "Jobs that failed.", ("reason",), _labelled(session.execute(failed)), counter=True),
    ]


def _waits(session: Session) -> list[Figure]:
    """Per tier: who waits now, for how long at most, and how long those waited that started of late."""
    oldest = _seconds(func.clock_timestamp() - func.min(Job.submitted_at))
    queued = select(Job.priority, func.count(), oldest).where(Job.state == JobState.queued).group_by(Job.priority)
    rows = session.execute(queued).all()
    waited = _quantiles(_seconds(Job.started_at - Job.submitted_at))
    late = select(Job.priority, *waited).where(Job.started_at > func.now() - WAITS_OF).group_by(Job.priority)
    waits = [(_tier(rank), *values) for rank, *values in session.execute(late)]
    tier = ("tier",)
    return [
        Figure("cmac_queued", "Jobs that wait for devices.", tier, [((_tier(p),), float(n)) for p, n, _ in rows]),
        Figure(
            "cmac_queue_oldest_seconds",
            "How long the oldest of them has waited.",
            tier,
            [((_tier(p),), float(s)) for p, _, s in rows],
        ),
        Figure(
            "cmac_queue_wait_seconds",
            "From submission to the first step, of jobs that started in the last hour.",
            ("tier", "quantile"),
            _by_quantile(waits),
        ),
    ]


def _devices(session: Session) -> list[Figure]:
    """`cpu` is the model of a CPU slot; `leased` is the state of a sound device that somebody holds."""
    held = select(DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
    state = case((Device.id.in_(held), "leased"), else_=Device.state).label("state")
    model = func.coalesce(Device.model, Device.kind).label("model")
    states = session.execute(select(state, model, func.count()).group_by(state, model)).all()
    leased = session.scalar(select(func.count()).where(DeviceLease.released_at.is_(None))) or 0
    use, used = (Device.health[name].as_float() for name in ("use", "used_mb"))
    gpus = select(Node.name, Device.index, use, used).join(Node, Node.id == Device.node_id)
    seen = session.execute(gpus.where(Device.kind == DeviceKind.gpu, Device.health.is_not(None))).all()
    of = ("node", "gpu")
    return [
        Figure("cmac_gpus", "Devices by state and model.", ("state", "model"), _labelled(states)),
        Figure("cmac_gpu_leases", "Devices that are leased now.", (), _one(leased)),
        Figure("cmac_gpu_use_percent", "Use of each GPU.", of, _labelled((n, i, u) for n, i, u, _ in seen if u)),
        Figure("cmac_gpu_memory_mb", "Memory of each GPU in use.", of, _labelled((n, i, m) for n, i, _, m in seen)),
    ]


def _attempts(session: Session) -> list[Figure]:
    ended = select(Attempt.reason, func.count()).where(Attempt.exited_at.is_not(None)).group_by(Attempt.reason)
    replaced = session.scalar(select(func.sum(Attempt.replacements))) or 0
    told = "Clips that could not be read and were replaced by others."
    return [
        Figure(
            "cmac_attempts", "Attempts that have ended.", ("reason",), _labelled(session.execute(ended)), counter=True
        ),
        Figure("cmac_data_replacements", told, (), _one(replaced), counter=True),
    ]


def _recoveries(session: Session) -> Figure:
    """From the end of an attempt for a fault of a machine to the first step of the next one."""
    after = aliased(Attempt)
    took = _quantiles(_seconds(after.running_at - Attempt.exited_at))
    lost = select(Attempt.reason, *took).join(
        after, (after.job_id == Attempt.job_id) & (after.epoch == Attempt.epoch + 1)
    )
    lost = lost.where(Attempt.reason.in_(FAULTS), Attempt.exited_at > func.now() - RECOVERIES_OF)
    rows = session.execute(lost.where(after.running_at.is_not(None)).group_by(Attempt.reason)).all()
    text = "From an attempt's end for a fault to the next one's first step, over a day."
    return Figure("cmac_recovery_seconds", text, ("fault", "quantile"), _by_quantile(rows))


def _ages(session: Session) -> list[Figure]:
    # clock_timestamp: now() stands still within a transaction.
    beat = _seconds(func.clock_timestamp() - func.min(Part.heartbeat_at))
    oldest = session.scalar(select(func.coalesce(beat, 0)).where(Part.state.in_(LIVE_PARTS)))
    heard = _seconds(func.clock_timestamp() - Node.heartbeat_at)
    nodes = session.execute(select(Node.name, Node.state, heard)).all()
    unsent = outbox.backlog(session)
    beats = "cmac_heartbeat_age_seconds"
    return [
        Figure(beats, "Age of the oldest live part's heartbeat.", (), _one(oldest or 0)),
        Figure("cmac_node_heartbeat_age_seconds", "Age of each node's heartbeat.", ("node", "state"), _labelled(nodes)),
        Figure("cmac_outbox_pending", "Messages that wait to be sent.", (), _one(unsent.messages)),
        Figure("cmac_outbox_oldest_seconds", "Age of the oldest of them.", (), _one(unsent.oldest_s)),
    ]


def _leaders(session: Session) -> list[Figure]:
    age = _seconds(func.clock_timestamp() - Leader.renewed_at)
    rows = session.execute(select(Leader.name, age, Leader.pass_s).order_by(Leader.name)).all()
    passes = [point for name, _, took in rows if name == SCHEDULER and took is not None for point in _one(took)]
    ages = _labelled((name, seconds) for name, seconds, _ in rows)
    return [
        Figure("cmac_leader_age_seconds", "Time since a loop's leader renewed its term.", ("name",), ages),
        Figure("cmac_scheduler_pass_seconds", "What the last pass over the queue took.", (), passes),
    ]


def _retention(session: Session) -> list[Figure]:
    done = _labelled((rule.what, session.scalar(select(func.count(rule.noted))) or 0) for rule in retention.RULES)
    waiting, text = _labelled(retention.waiting(session).items()), "Jobs whose logs were removed, or curves thinned."
    return [
        Figure("cmac_retention_jobs", text, ("what",), done, counter=True),
        Figure("cmac_retention_due", "Jobs whose time for that has come, and that wait for it.", ("what",), waiting),
    ]


def _webhooks(session: Session) -> list[Figure]:
    told = (Outbox.sent_at.is_not(None), "arrived"), (Outbox.gave_up_at.is_not(None), "given_up")
    outcome = case(*told, (Outbox.error.is_not(None), "failing"), else_="waiting").label("outcome")
    open_or_late = or_(Outbox.sent_at > func.now() - DELIVERIES_OF, Outbox.gave_up_at > func.now() - DELIVERIES_OF)
    open_or_late |= and_(Outbox.sent_at.is_(None), Outbox.gave_up_at.is_(None))
    deliveries = select(outcome, func.count()).where(Outbox.kind == WEBHOOK, open_or_late).group_by(outcome)
    broken = (Webhook.disabled_at.is_not(None), "disabled"), (Webhook.failures > 0, "failing")
    state = case(*broken, else_="ok").label("state")
    hooks = select(state, func.count()).group_by(state)
    text = "Deliveries that arrived or were given up in the last hour, are failing, or wait for their first try."
    return [
        Figure("cmac_webhooks", "Receivers by state.", ("state",), _labelled(session.execute(hooks))),
        Figure("cmac_webhook_deliveries", text, ("outcome",), _labelled(session.execute(deliveries))),
    ]


def _points(session: Session) -> Figure:
    """As PostgreSQL counts them: counting ten million rows takes seconds."""
    inserted = text("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'metrics'")
    written = session.scalar(inserted) or 0
    return Figure("cmac_metric_points", "Points of curves written.", (), _one(written), counter=True)


def _seconds(span: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", span)


def _quantiles(value: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    return [func.percentile_cont(q).within_group(value) for q in QUANTILES]


def _by_quantile(rows: Iterable[Any]) -> list[tuple[tuple[str, ...], float]]:
    """From (label, a value for each quantile)."""
    return [((str(row[0]), str(q)), float(value)) for row in rows for q, value in zip(QUANTILES, row[1:], strict=True)]


def _one(value: Any) -> list[tuple[tuple[str, ...], float]]:
    return [((), float(value))]


def _labelled(rows: Iterable[Any]) -> list[tuple[tuple[str, ...], float]]:
    return [(tuple(str(label) for label in row[:-1]), float(row[-1])) for row in rows]


def _tier(rank: int) -> str:
    return str(list(Priority)[rank])
