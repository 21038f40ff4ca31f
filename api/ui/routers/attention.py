"""Where the networks look: a gallery of clips, and each clip with its maps over picture and sound."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.pages import Cursor, Limit, cut
from api.ui.rendering import page
from api.ui.shown import MapViewDep
from api.views.data import artifact_url
from store import jobs, results
from store.errors import BadRequest, NotFound

router = APIRouter(prefix="/ui", include_in_schema=False)

MAPS = {"s": "s: guided by the other modality", "s_hat": "ŝ: the encoder's own prediction"}
SORTS = {
    "clip": "clip",
    "agreement": "least agreement of s and ŝ",
    "-agreement": "most agreement of s and ŝ",
    "confidence": "least confident prediction",
    "-confidence": "most confident prediction",
    "-error": "largest error of localization",
    "error": "smallest error of localization",
}
_MOST_MAPS = 10_000
_JOBS = 50


@router.get("/attention")
def attention_page(request: Request, principal: ViewerDep, session: SessionDep) -> HTMLResponse:
    """The newest jobs that have maps to show."""
    found = jobs.page(session, principal, {"kind": ["attention"], "state": ["succeeded"]}, limit=_JOBS)
    return page(request, "attention_jobs.html", principal, title="Attention", here="attention", jobs=found.items)


@router.get("/jobs/{job_id}/attention")
def gallery_page(
    job_id: UUID,
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    view: MapViewDep,
    clip: Annotated[str | None, Query(max_length=1000, description="One clip, with its maps.")] = None,
    silent: Annotated[bool | None, Query(description="Only silent clips, or only others.")] = None,
    sort: Annotated[str, Query(description=", ".join(SORTS))] = "clip",
    limit: Limit = 24,
    cursor: Cursor = None,
) -> HTMLResponse:
    """All clips of an attention job, or one of them. Raises NotFound, BadRequest (an unknown order)."""
    if sort not in SORTS:
        raise BadRequest(f"there is no order {sort!r}", allowed=list(SORTS))
    job = jobs.get(session, job_id, principal)
    rows = results.attention(session, job_id, principal, clip=clip, limit=_MOST_MAPS)
    shared: dict[str, Any] = {"here": "attention", "job": job, "url": artifact_url, "view": view}
    clips = _by_clip(rows)
    if clip is not None:
        if not clips:
            raise NotFound(f"job {job_id} has no map of a clip {clip[:100]!r}")
        one = clips[0]
        raw = {f"{row['modality']}/{row['map']}": artifact_url(row["files"]["raw"]) for row in one["maps"]}
        centers = {f"{row['modality']}/{row['map']}": row.get("centers") for row in one["maps"]}
        return page(
            request, "attention_clip.html", principal, title=clip, clip=one, maps=MAPS,
            shown={"raw": raw, "centers": centers, "panes": one["panes"]}, **shared,
        )  # fmt: skip
    wanted = _sorted([one for one in clips if silent is None or one["silent"] == silent], sort)
    turned = cut(request, HTMLResponse(), wanted, lambda one: str(one["clip"]), limit=limit, cursor=cursor)
    kept = ({} if silent is None else {"silent": str(silent).lower()}) | ({} if sort == "clip" else {"sort": sort})
    following = f"?{urlencode(kept | {'cursor': turned.next_cursor})}" if turned.next_cursor else None
    return page(
        request, "attention_gallery.html", principal, title=f"Attention of {job.name or str(job.id)[:8]}",
        clips=turned.items, count=len(wanted), following=following, silent=silent, sort=sort, sorts=SORTS, **shared,
    )  # fmt: skip


def _by_clip(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{clip, t0_s, silent, picture, film, panes, maps}: what is of a whole clip, and its maps, those with numbers."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        empty = {"clip": row["clip"], "picture": None, "film": None, "panes": None, "maps": []}
        one = found.setdefault(row["clip"], empty | {"t0_s": row.get("t0_s"), "silent": bool(row.get("silent"))})
        if "raw" in row["files"]:
            one["maps"].append(row)
        else:
            one |= {"picture": row["files"].get("png"), "film": row["files"].get("mp4"), "panes": row.get("panes")}
    return [one | _standing(one["maps"]) for one in found.values()]


def _standing(maps: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """A clip's numbers to sort by, means over picture and sound: of the prediction where there is one."""
    told = [one for one in maps if one["map"] == "s_hat"] or list(maps)
    hits = [one["scores"]["pointing"] for one in told if "pointing" in (one.get("scores") or {})]
    return {
        "agreement": _mean([one.get("agreement") for one in told]),
        "confidence": _mean([one.get("confidence") for one in told]),
        "error": None if not hits else 1 - sum(hits) / len(hits),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sorted(clips: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """In the order of SORTS; clips without the number come last."""
    name, falling = sort.lstrip("-"), sort.startswith("-")
    if name == "clip":
        return sorted(clips, key=lambda one: str(one["clip"]))
    known = [one for one in clips if one[name] is not None]
    return sorted(known, key=lambda one: float(one[name]), reverse=falling) + [
        one for one in clips if one[name] is None
    ]
