"""Single keys of a terminal, without Enter and without echo."""

import os
import select
import sys
import time
from types import TracebackType
from typing import Self

try:
    import termios
    import tty
except ImportError:  # Windows: a screen without keys; Ctrl-C leaves it
    termios = None  # type: ignore[assignment]

_NAMES = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1b[F": "end", "\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace",
}  # fmt: skip
_LONGEST_FIRST = sorted(_NAMES, key=len, reverse=True)


class Keyboard:
    """Keys as they are pressed; none where standard input is no terminal."""

    def __init__(self) -> None:
        self._typed = ""  # fast fingers, and a pasted word, come in one piece
        self._file = sys.stdin.fileno() if termios is not None and sys.stdin.isatty() else None

    def __enter__(self) -> Self:
        if self._file is not None:
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def read(self, timeout_s: float) -> str:
        """The next key: a character or a name (`up`, `page down`, `enter`); "" when none came in time."""
        if self._file is None:
            time.sleep(timeout_s)
            return ""
        if not self._typed and select.select([self._file], [], [], timeout_s)[0]:
            self._typed = os.read(self._file, 64).decode(errors="ignore")
        key = next((name for name in _LONGEST_FIRST if self._typed.startswith(name)), self._typed[:1])
        self._typed = self._typed[len(key) :]
        return _NAMES.get(key, key if key.isprintable() else "")
