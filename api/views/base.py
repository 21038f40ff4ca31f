"""What every view is, and lists."""

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Response
from pydantic import BaseModel, ConfigDict, PlainSerializer

T = TypeVar("T")


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]


class View(BaseModel):
    """Built from a row's attributes or a dict."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")


class ListView(View, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


def written(view: View, headers: dict[str, str], *, exclude_unset: bool = False) -> Response:
    """A view as JSON, for where many ask: one that an endpoint returns is checked again first."""
    told = view.model_dump_json(exclude_unset=exclude_unset)
    return Response(told, headers=headers, media_type="application/json")
