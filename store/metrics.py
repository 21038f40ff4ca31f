"""Curves: many points in one statement, read back thinned so that spikes stay."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, distinct_on
from sqlalchemy.orm import Session

from store.tables import Attempt, Metric

BUCKETS = 250  # that remain of a curve when it is thinned for good
MOST_READ = 20_000  # points; more than these the database thins
_PLACES = {"step": Metric.step, "time": Metric.at, "train_epoch": Metric.train_epoch}


Given = BindParameter[Any]  # a value that is not known yet
Condition = ColumnElement[bool]


class Point(NamedTuple):
    name: str
    step: int
    value: float | None
    train_epoch: float | None


# Arrays instead of a thousand parameter lists: a thousand points take some 10 ms.
_ADD = text(
    """
    INSERT INTO metrics (job_id, epoch, name, step, value, train_epoch)
    SELECT :job, :epoch, *
      FROM unnest(CAST(:names AS text[]), CAST(:steps AS bigint[]), CAST(:vals AS float8[]), CAST(:passes AS float8[]))
    ON CONFLICT (job_id, name, step, epoch) DO UPDATE SET value = excluded.value, train_epoch = excluded.train_epoch
    """
)

_BEGAN = (
    select(Attempt.epoch, Attempt.resume_step)
    .where(Attempt.job_id == bindparam("job"), Attempt.running_at.is_not(None))
    .order_by(Attempt.epoch.desc())
)

# One look into the index for each name, however many points there are.
_NAMES = text(
    """
    WITH RECURSIVE walk AS (
        (SELECT name FROM metrics WHERE job_id = :job ORDER BY name LIMIT 1)
        UNION ALL
        SELECT (SELECT name FROM metrics WHERE job_id = :job AND name > walk.name ORDER BY name LIMIT 1)
          FROM walk WHERE name IS NOT NULL)
    SELECT name FROM walk WHERE name IS NOT NULL
    """
)


def add(session: Session, job_id: UUID, epoch: int, points: Sequence[Point]) -> None:
    """All points in one INSERT; of two at the same name and step the later one stays."""
    if not points:
        return
    last = {(point.name, point.step): point for point in points}
    names, steps, values, passes = zip(*last.values(), strict=True)
    session.execute(
        _ADD,
        {
            "job": job_id,
            "epoch": epoch,
            "names": list(names),
            "steps": list(steps),
            "vals": list(values),
            "passes": list(passes),
        },
    )


def names(session: Session, job_id: UUID) -> list[str]:
    """Names of a job's curves."""
    return list(session.scalars(_NAMES, {"job": job_id}))


def series(
    session: Session,
    job_id: UUID,
    names: Sequence[str] | None = None,
    points: int = 500,
    from_step: int = 0,
    x: str = "step",
) -> list[dict[str, Any]]:
    """[{name, x, y, min, max, thinned, non_finite}]: at most about `points` each; 0 is all.

    `x`: step, time (RFC 3339) or train_epoch. Each point stands for a bucket: y is its last value, min and max
    are over all of it, so that spikes stay. A value that was not finite is null and counted.
    Many points are thinned by the database, into buckets of equally many steps instead of points.
    """
    whole = _whole(session, job_id, names, from_step, x, most=MOST_READ if points else None)
    if whole is None:
        return _thinned(session, job_id, names, points, from_step, x)
    told = {name: thin([], [], points) for name in names or ()}
    for row in whole:
        told[row.name] = thin(_written(row.places), row.values, points)
    return [{"name": name, **curve} for name, curve in told.items()]


def _whole(
    session: Session, job_id: UUID, names: Sequence[str] | None, from_step: int, x: str, most: int | None
) -> Sequence[Row[str, list[Any], list[float | None]]] | None:
    """A row for each curve, with all its points in two arrays: a row for each point takes four times as long.

    None where there are more than `most` points.
    """
    ends = _ends(session, job_id)
    given = {"job": job_id, "from_step": from_step, "names": names, "most": most and most + 1}
    given |= {f"epoch_{place}": epoch for place, (epoch, _) in enumerate(ends)}
    given |= {f"last_{place}": last for place, (_, last) in enumerate(ends)}
    statement = _curves(x, names is not None, most is not None, len(ends))
    rows = session.execute(statement, given).all()
    return None if most is not None and sum(len(row.places) for row in rows) > most else rows


@lru_cache(maxsize=100)  # to write it anew takes as long as to answer it
def _curves(x: str, named: bool, cut: bool, epochs: int) -> Select[str, list[Any], list[float | None]]:
    """What `_whole` asks of a job that began in so many epochs."""
    ends: list[tuple[Given, Given | None]] = [
        (bindparam(f"epoch_{place}", type_=BigInteger), bindparam(f"last_{place}", type_=BigInteger) if place else None)
        for place in range(epochs)
    ]
    names: Given | None = bindparam("names", expanding=True) if named else None
    place = _PLACES[x].label("place")
    counted = _counted(bindparam("job"), names, bindparam("from_step"), _counting(ends), place, Metric.value)
    point = (counted.limit(bindparam("most")) if cut else counted).subquery()
    in_order = (
        func.array_agg(aggregate_order_by(column, point.c.step)).label(name)
        for column, name in ((point.c.place, "places"), (point.c.value, "values"))
    )
    return select(point.c.name, *in_order).group_by(point.c.name).order_by(point.c.name)


def _written(places: list[Any]) -> list[Any]:
    """Times as JSON has them, other places as they are."""
    return [place.isoformat() for place in places] if places and isinstance(places[0], datetime) else places


def _thinned(
    session: Session, job_id: UUID, wanted: Sequence[str] | None, points: int, from_step: int, x: str
) -> list[dict[str, Any]]:
    """As `series`; what it does with each curve is what `thin` does."""
    every = wanted is None
    wanted = names(session, job_id) if wanted is None else wanted
    of_job = and_(Metric.job_id == job_id, _counts(session, job_id))
    counted = and_(of_job, Metric.step >= from_step)
    told = {name: thin([], [], points) for name in wanted}
    spans = _spans(session, counted, wanted)
    for (first, last), alike in spans.items():
        mine = and_(of_job, Metric.name.in_(alike))
        # What is asked of a million rows counts: between their ends, all of a job's points are these curves'.
        found = _buckets(session, of_job if every and len(spans) == 1 else mine, mine, first, last, points)
        rows = _at(session, counted, [(row.name, row.step) for buckets in found.values() for row in buckets])
        for name, buckets in found.items():
            told[name] = {
                "min": [row.low for row in buckets],
                "max": [row.high for row in buckets],
                "thinned": len(buckets) < sum(row.points for row in buckets),
                "non_finite": sum(row.bad for row in buckets),
            }
            places = [getattr(row, _PLACES[x].key) for row in rows[name]]
            told[name] |= {"x": _written(places), "y": [row.value for row in rows[name]]}
    return [{"name": name, **curve} for name, curve in told.items()]


def _spans(session: Session, counted: Condition, names: Sequence[str]) -> dict[tuple[int, int], list[str]]:
    """(first step, last step) -> curves. Most of a job's curves begin and end together."""
    spans: dict[tuple[int, int], list[str]] = {}
    for name in names:
        ends = select(func.min(Metric.step), func.max(Metric.step)).where(counted, Metric.name == name)
        first, last = session.execute(ends).one()
        if first is not None:
            spans.setdefault((first, last), []).append(name)
    return spans


def _buckets(
    session: Session, between: Condition, mine: Condition, first: int, last: int, points: int
) -> dict[str, list[Any]]:
    """Name -> rows of (step, low, high, points, bad) in the order of steps: `step` is the last one of a bucket.

    Points of a job's curves lie mixed on disk: to read them together is to read each page once. The first and the last
    step are buckets of their own, those between hold equally many steps. `mine` holds for the points of these curves,
    `between` for those of them that lie between the first step and the last.
    """
    width = max(1, -(-(last - first - 1) // max(1, points - 2)))
    ends = func.min(Metric.value).label("low"), func.max(Metric.value).label("high")
    counts = func.count().label("points"), (func.count() - func.count(Metric.value)).label("bad")
    of_bucket = Metric.name, func.max(Metric.step).label("step"), *ends, *counts
    inner = select(*of_bucket).where(between, Metric.step.between(first + 1, last - 1))
    inner = inner.group_by(Metric.name, (Metric.step - first - 1) // width)
    outer = select(*of_bucket).where(mine, Metric.step.in_({first, last})).group_by(Metric.name, Metric.step)
    found: dict[str, list[Any]] = {}
    for row in sorted(session.execute(union_all(inner, outer)).all(), key=lambda row: row.step):
        found.setdefault(row.name, []).append(row)
    return found


def _at(session: Session, counted: Condition, places: Sequence[tuple[str, int]]) -> dict[str, list[Any]]:
    """Name -> points at these steps in their order, of each the newest."""
    names, steps = zip(*places, strict=True)
    pairs = func.unnest(literal(names, ARRAY(Text)), literal(steps, ARRAY(BigInteger)))
    wanted = pairs.table_valued("name", "step").render_derived()
    shown = select(Metric.name, Metric.step, Metric.train_epoch, Metric.value, Metric.at)
    shown = shown.join(wanted, and_(Metric.name == wanted.c.name, Metric.step == wanted.c.step)).where(counted)
    newest = shown.ext(distinct_on(Metric.name, Metric.step))
    found: dict[str, list[Any]] = {}
    for row in session.execute(newest.order_by(Metric.name, Metric.step, Metric.epoch.desc())):
        found.setdefault(row.name, []).append(row)
    return found


def thin(xs: Sequence[Any], ys: Sequence[float | None], points: int) -> dict[str, Any]:
    """Buckets of equal length with min and max; the first and the last point are buckets of their own."""
    count = len(ys)
    if not points or count <= points:
        told = list(ys)
        return {"x": list(xs), "y": told, "min": told, "max": told, "thinned": False, "non_finite": told.count(None)}
    inner = max(1, points - 2)
    cuts = [0, *(1 + i * (count - 2) // inner for i in range(inner)), count - 1, count]
    buckets = [range(a, b) for a, b in itertools.pairwise(cuts) if b > a]
    finite = [[y for y in (ys[i] for i in bucket) if y is not None] for bucket in buckets]
    return {
        "x": [xs[bucket[-1]] for bucket in buckets],
        "y": [ys[bucket[-1]] for bucket in buckets],
        "min": [min(values, default=None) for values in finite],
        "max": [max(values, default=None) for values in finite],
        "thinned": len(buckets) < count,
        "non_finite": sum(y is None for y in ys),
    }


def after(session: Session, job_id: UUID, epoch: int, step: int, limit: int = 2000) -> list[dict[str, Any]]:
    """Points behind (epoch, step) in that order, for a live stream: [{epoch, step, train_epoch, values}].

    `values` is name -> value. A step that the limit cuts through is left for the next call.
    """
    behind = or_(Metric.epoch > epoch, and_(Metric.epoch == epoch, Metric.step > step))
    query = select(Metric).where(Metric.job_id == job_id, behind)
    found = session.scalars(query.order_by(Metric.epoch, Metric.step, Metric.name).limit(limit)).all()
    steps: dict[tuple[int, int], dict[str, Any]] = {}
    for metric in found:
        empty: dict[str, Any] = {
            "epoch": metric.epoch,
            "step": metric.step,
            "train_epoch": metric.train_epoch,
            "values": {},
        }
        steps.setdefault((metric.epoch, metric.step), empty)["values"][metric.name] = metric.value
    if len(found) == limit and len(steps) > 1:
        steps.popitem()
    return list(steps.values())


def rows(session: Session, job_id: UUID, names: Sequence[str] | None = None, from_step: int = 0) -> Iterator[Any]:
    """Every point that counts, by name and step: rows of (name, step, train_epoch, value, epoch, at)."""
    more = Metric.train_epoch, Metric.value, Metric.epoch, Metric.at
    query = _counted(job_id, names, from_step, _counts(session, job_id), *more)
    return iter(session.execute(query.execution_options(yield_per=5000)))


def _counted(
    job: UUID | Given, names: Sequence[str] | Given | None, from_step: int | Given, counts: Condition, *more: Any
) -> Select[*tuple[Any, ...]]:
    """Every point that counts, by name and step: of one told by several epochs the newest."""
    query = select(Metric.name, Metric.step, *more).where(Metric.job_id == job, Metric.step >= from_step, counts)
    if names is not None:
        query = query.where(Metric.name.in_(names))
    return query.ext(distinct_on(Metric.name, Metric.step)).order_by(Metric.name, Metric.step, Metric.epoch.desc())


def thin_out(session: Session, job_id: UUID) -> int:
    """Remove points of a job's long curves for good; how many went.

    A bucket keeps its last point and its extremes, a curve its first point too: spikes and final values stay.
    """
    many = select(Metric.name).where(Metric.job_id == job_id).group_by(Metric.name)
    long = session.scalars(many.having(func.count() > 3 * BUCKETS + 1)).all()
    return sum(_thin_out(session, job_id, name) for name in long)


def _thin_out(session: Session, job_id: UUID, name: str) -> int:
    of_curve = and_(Metric.job_id == job_id, Metric.name == name)
    newest = func.row_number().over(partition_by=Metric.step, order_by=Metric.epoch.desc()).label("age")
    told = select(Metric.step, Metric.epoch, Metric.value, newest).where(of_curve, _counts(session, job_id)).subquery()
    place = func.row_number().over(order_by=told.c.step).label("place")
    bucket = ((place - 1) * BUCKETS // func.count().over()).label("bucket")
    placed = select(told.c.step, told.c.epoch, told.c.value, place, bucket).where(told.c.age == 1).subquery()
    stays = {
        "last": placed.c.step.desc(),
        "lowest": placed.c.value.asc().nulls_last(),
        "highest": placed.c.value.desc().nulls_last(),
    }
    ranks = [
        func.row_number().over(partition_by=placed.c.bucket, order_by=(order, placed.c.step)).label(name)
        for name, order in stays.items()
    ]
    ranked = select(placed.c.step, placed.c.epoch, placed.c.place, *ranks).subquery()
    kept = select(ranked.c.step, ranked.c.epoch)
    kept = kept.where(or_(ranked.c.place == 1, *(ranked.c[name] == 1 for name in stays)))
    gone = delete(Metric).where(of_curve, tuple_(Metric.step, Metric.epoch).not_in(kept)).returning(Metric.step)
    return session.scalar(select(func.count()).select_from(gone.cte())) or 0


def remove(session: Session, job_id: UUID) -> int:
    """All points of a job; how many went."""
    gone = delete(Metric).where(Metric.job_id == job_id).returning(Metric.step)
    return session.scalar(select(func.count()).select_from(gone.cte())) or 0


def _counts(session: Session, job_id: UUID) -> Condition:
    """An epoch counts up to the step from which a later one went on."""
    return _counting(_ends(session, job_id))


def _ends(session: Session, job_id: UUID) -> list[tuple[int, int | None]]:
    """(epoch, last step that counts) of a job, the newest first, whose steps all count: None."""
    found: list[tuple[int, int | None]] = []
    lowest: int | None = None
    for epoch, resume_step in session.execute(_BEGAN, {"job": job_id}):
        found.append((epoch, lowest))
        lowest = min(resume_step or 0, lowest if lowest is not None else resume_step or 0)
    return found


def _counting(ends: Sequence[tuple[int | Given, int | Given | None]]) -> Condition:
    each = [
        Metric.epoch == epoch if last is None else and_(Metric.epoch == epoch, Metric.step <= last)
        for epoch, last in ends
    ]
    return or_(*each) if each else Metric.epoch >= 0
