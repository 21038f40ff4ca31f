"""Which parts of the suite a run measures."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks import __main__ as bench
from benchmarks.rounds import Comparison


def test_a_run_measures_the_parts_that_it_names_and_a_quick_one_the_short_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[tuple[str, int]] = []

    def noted(name: str) -> Callable[[int], Iterator[Comparison]]:
        def measure(rounds: int) -> Iterator[Comparison]:
            measured.append((name, rounds))
            return iter(())

        return measure

    parts = bench.Part("short", "all", noted("short")), bench.Part("long", "whole", noted("long"))
    monkeypatch.setattr(bench, "COMPARED", (*parts, bench.Part("other", "all", noted("other"))))
    list(bench.rows(quick=True, only=["short", "long"]))
    assert measured == [("short", 5)]
    measured.clear()
    list(bench.rows(quick=False, only=["short", "long"]))
    assert measured == [("short", 15), ("long", 15)]


def test_every_part_has_a_name_of_its_own() -> None:
    assert len(set(bench.NAMES)) == len(bench.NAMES)


def test_a_part_that_the_run_cannot_measure_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--quick", "--only", "step", "growth"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert "cannot measure growth in this run: leave --quick out" in capsys.readouterr().err
