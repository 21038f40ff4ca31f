"""Figure 4 as a picture: every point where it belongs, inside its panel."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from cmac_core.experiments.figures import HEIGHT, WIDTH, svg, ticks

NAME = "{http://www.w3.org/2000/svg}"


def table(*means: float | None, std: float | None = 0.5) -> dict[str, Any]:
    """Points at 0, 0.5, 1.0 ... of two columns; the paper knows the first."""
    rows = [
        {
            "x": place / 2,
            "cells": [
                {"mean": mean, "std": std, "paper": 85.5 if place == 0 else None},
                {"mean": None, "std": None, "paper": None},
            ],
        }
        for place, mean in enumerate(means)
    ]
    columns = [{"title": "UCF101", "unit": "%"}, {"title": "HMDB51 <&>", "unit": "%"}]
    return {"key": "figure-4", "title": "Figure 4", "x": "lambda", "columns": columns, "rows": rows}


def panels(text: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text)
    return [group for group in root.findall(f"{NAME}g")]


def test_every_point_is_drawn_higher_where_it_is_higher() -> None:
    first, second = panels(svg(table(85.0, 86.0, 87.5)))
    heights = [float(circle.attrib["cy"]) for circle in first.findall(f"{NAME}circle")]
    places = [float(circle.attrib["cx"]) for circle in first.findall(f"{NAME}circle")]
    assert heights == sorted(heights, reverse=True)
    assert places == sorted(places)
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert (heights[0] - heights[1]) * 1.5 == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert len(first.findall(f"{NAME}polyline")) == 1
    assert "pending" in [element.text for element in second.findall(f"{NAME}text")]


def test_nothing_leaves_its_panel() -> None:
    for means in ((85.0, 86.0, 87.5), (0.0, 100.0), (50.0,), (1e-3, 2e-3), (None, None, 40.0)):
        for panel in panels(svg(table(*means))):
            text = ElementTree.tostring(panel, encoding="unicode")
            across = [float(x) for x in re.findall(r'(?:cx|x1|x2|x)="([\d.-]+)"', text)]
            up = [float(y) for y in re.findall(r'(?:cy|y1|y2|y)="([\d.-]+)"', text)]
            up += [float(y) for y in re.findall(r"V([\d.-]+)", text)]
            assert min(across, default=0) >= 0
            assert max(across, default=0) <= WIDTH
            assert min(up, default=0) >= 0
            assert max(up, default=0) <= HEIGHT


def test_where_a_point_is_missing_the_line_has_a_gap() -> None:
    (first, _) = panels(svg(table(85.0, 86.0, None, 87.0, 88.0)))
    assert len(first.findall(f"{NAME}polyline")) == 2
    assert len(first.findall(f"{NAME}circle")) == 4


def test_the_papers_points_stand_apart_from_ours() -> None:
    first, _ = panels(svg(table(85.0, 86.0)))
    diamonds = [path for path in first.findall(f"{NAME}path") if path.attrib.get("fill") == "white"]
    assert len(diamonds) == 1


def test_ticks_are_round_and_span_the_range() -> None:
    assert ticks(85.0, 88.2) == [85.0, 86.0, 87.0, 88.0, 89.0]
    assert ticks(0.0, 2.5) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_names_do_not_become_markup() -> None:
    assert "HMDB51 &lt;&amp;&gt;" in svg(table(1.0, 2.0))


def test_rows_without_an_axis_are_no_figure() -> None:
    rows = table(1.0)
    rows["rows"][0]["x"] = None
    with pytest.raises(ValueError, match="has no axis"):
        svg(rows)
