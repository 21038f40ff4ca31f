"""Reads events.jsonl as it grows: whole lines alone, in portions, and past what no one can read."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from cmac_core.events import EVENTS_FILE, AnyEvent, Ended, Started, Warned, parse

PORTION = 2**20  # bytes in one transaction: after an outage much may have gathered


class Portion(NamedTuple):
    events: list[AnyEvent]
    offset: int  # behind them


def read_portion(folder: Path, offset: int) -> Portion:
    """The next whole lines from byte `offset` on. Half a line is no line yet; a broken one becomes a warning."""
    try:
        with (folder / EVENTS_FILE).open("rb") as file:
            file.seek(offset)
            data = file.read(PORTION)
            while b"\n" not in data and (more := file.read(PORTION)):
                data += more
    except FileNotFoundError:
        return Portion([], offset)
    end = data.rfind(b"\n") + 1
    return Portion(list(_events(data[:end].splitlines())), offset + end)


def size(folder: Path) -> int:
    """Bytes written so far, half lines included."""
    try:
        return os.stat(f"{folder}/{EVENTS_FILE}").st_size  # asked all the time: to join a Path takes longer
    except FileNotFoundError:
        return 0


class Words(NamedTuple):
    """What a run said of itself: whether it got as far as starting, and its `Ended` line if it wrote one."""

    started: bool
    ended: Ended | None


def words(folder: Path) -> Words:
    """The first and the last word in the whole file; a broken line behind the last one does not undo it."""
    offset, started, ended = 0, False, None
    while True:
        events, after = read_portion(folder, offset)
        started = started or any(isinstance(event, Started) for event in events)
        ended = next((event for event in reversed(events) if isinstance(event, Ended)), ended)
        if after == offset:
            return Words(started, ended)
        offset = after


def _events(lines: Iterable[bytes]) -> Iterator[AnyEvent]:
    for line in lines:
        if not line.strip():
            continue
        try:
            yield parse(line)
        except ValidationError as error:
            # A disk that was full may have cut a line, and the next one stands behind it. The run goes on.
            yield Warned(
                code="broken_event", message=f"{error.errors()[0]['msg']}: {line[:200].decode(errors='replace')}"
            )
