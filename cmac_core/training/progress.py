"""How far a run is: an event twice a second, a bar on a terminal, a line now and then in a log. No torch here."""

import sys
import time
from collections import deque

from cmac_core.events import Progress

EVENT_S, LINE_S, WINDOW_S = 0.5, 5.0, 20.0


class ProgressMeter:
    """Turns step numbers into events with rate and time left, throttled; draws them on stderr."""

    def __init__(self, draw: bool = True) -> None:
        self._draw = draw
        self._phase: str | None = None
        self._seen: deque[tuple[float, int]] = deque()
        self._told = self._drawn = float("-inf")
        self.note = ""  # shown behind the bar: the loss, for one

    def at(self, phase: str, step: int, of: int, unit: str = "it", per_step: float = 1.0) -> Progress | None:
        """The event for this step, or None when the last one is fresh enough. `per_step` units make a step."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase = phase
            self._seen.clear()
            self._told = self._drawn = float("-inf")
        self._seen.append((now, step))
        while self._seen[0][0] < now - WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        if now - self._told < EVENT_S and step < of:
            return None
        self._told = now
        rate = self._rate()
        event = Progress(
            phase=phase,
            step=step,
            of=of,
            unit=unit,
            rate=rate and rate * per_step,
            eta_s=(of - step) / rate if rate else None,
        )
        self._show(event, now)
        return event

    def _rate(self) -> float | None:
        (since, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - since) if last > first and now > since else None

    def _show(self, event: Progress, now: float) -> None:
        terminal = sys.stderr.isatty()
        last = event.step >= event.of
        if not self._draw or (not terminal and now - self._drawn < LINE_S and not last):
            return
        self._drawn = now
        text = line(event, 24 if terminal else 0, self.note)
        # \x1b[K clears what a longer line left behind.
        sys.stderr.write(f"\r{text}\x1b[K" + ("\n" if last else "") if terminal else text + "\n")
        sys.stderr.flush()


def line(event: Progress, bar: int = 0, note: str = "") -> str:
    """One line for a person: `train ━━━━╌╌ 120/480 · 49.1 clips/s · 0:07 left`."""
    done = min(bar, round(bar * event.step / max(event.of, 1)))
    parts = [f"{event.phase} {'━' * done}{'╌' * (bar - done)}{' ' if bar else ''}{event.step}/{event.of}"]
    if event.rate is not None:
        parts.append(f"{event.rate:.3g} {event.unit}/s")
    if event.eta_s is not None:
        minutes, seconds = divmod(round(event.eta_s), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return " · ".join([*parts, note] if note else parts)
