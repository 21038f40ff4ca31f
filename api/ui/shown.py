"""How somebody looks at a page: it stands in its address, so that a colleague sees the same."""

from typing import Annotated, Literal, NamedTuple

from fastapi import Depends, Query


class CurveView(NamedTuple):
    """How curves are drawn."""

    smooth: float
    x: str
    logx: bool
    logy: bool


class MapView(NamedTuple):
    """How maps are laid over picture and sound."""

    opacity: float
    scale: str


def read_curve_view(
    smooth: Annotated[float, Query(ge=0, le=0.98, description="Weight of what came before; 0: as it is.")] = 0.0,
    x: Literal["step", "time", "train_epoch"] = "step",
    logx: bool = False,
    logy: bool = False,
) -> CurveView:
    """Of a page with curves."""
    return CurveView(smooth, x, logx, logy)


def read_map_view(
    opacity: Annotated[float, Query(ge=0, le=1)] = 0.55, scale: Literal["fixed", "own"] = "fixed"
) -> MapView:
    """Of a page with maps."""
    return MapView(opacity, scale)


CurveViewDep = Annotated[CurveView, Depends(read_curve_view)]
MapViewDep = Annotated[MapView, Depends(read_map_view)]
