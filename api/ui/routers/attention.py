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
from store.errors import NotFound

router = APIRouter(prefix="/ui", include_in_schema=False)

MAPS = {"s": "s: guided by the other modality", "s_hat": "ŝ: the encoder's own prediction"}
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
    limit: Limit = 24,
    cursor: Cursor = None,
) -> HTMLResponse:
    """All clips of an attention job, or one of them. Raises NotFound."""
    job = jobs.get(session, job_id, principal)
    rows = results.attention(session, job_id, principal, clip=clip, limit=_MOST_MAPS)
    shared: dict[str, Any] = {"here": "attention", "job": job, "url": artifact_url, "view": view}
    clips = _by_clip(rows)
    if clip is not None:
        if not clips:
            raise NotFound(f"job {job_id} has no map of a clip {clip[:100]!r}")
        one = clips[0]
        raw = {f"{row['modality']}/{row['map']}": artifact_url(row["files"]["raw"]) for row in one["maps"]}
        return page(
            request, "attention_clip.html", principal, title=clip, clip=one, maps=MAPS,
            shown={"raw": raw, "panes": one["panes"]}, **shared,
        )  # fmt: skip
    wanted = [one for one in clips if silent is None or one["silent"] == silent]
    turned = cut(request, HTMLResponse(), wanted, lambda one: str(one["clip"]), limit=limit, cursor=cursor)
    kept = {} if silent is None else {"silent": str(silent).lower()}
    following = f"?{urlencode(kept | {'cursor': turned.next_cursor})}" if turned.next_cursor else None
    return page(
        request, "attention_gallery.html", principal, title=f"Attention of {job.name or str(job.id)[:8]}",
        clips=turned.items, count=len(wanted), following=following, silent=silent, **shared,
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
    return list(found.values())
