"""What the documents tell people to type: fenced blocks, their commands, and the marks of those that no test runs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "docs/START.md", "docs/TUTORIAL.md", "docs/TABLES.md", "docs/CONCEPTS.md")),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in ("API.md", "COMMANDS.md")),
    ROOT / "CONTRIBUTING.md",
)
ORDER = tuple(dict.fromkeys(DOCUMENTS))  # as people read them
LIST = ROOT / "docs" / "COMMANDS.md"

# Why a command may be left out, and nothing else.
REASONS = (
    "needs Docker",
    "needs systemd",
    "needs a GPU",
    "needs hours",
    "is another system's",
    "runs the tests",
    "has a test of its own",
)
_BLOCK = re.compile(r"(?:<!-- (?P<mark>.*?) -->\n)?^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"not run: (?P<reason>[^;]+)(?:; .+)?")
_COMMANDS = ("cmac", "make", "curl", "python", "docker", "git", "systemctl", "torchrun", "rsync")
_PUNCTUATION = ";|&()<>"


class Block(NamedTuple):
    """One fenced block. `reason`: why no test runs it, as written; None: one does."""

    document: Path
    line: int
    language: str
    title: str  # the file that it is, where it is one
    code: str
    reason: str | None

    @property
    def where(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """Its fenced blocks, in order. Raises ValueError for a mark that is none."""
    text = document.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        language, _, title = found["info"].strip().partition(" ")
        line = text.count("\n", 0, found.start("info")) + 1
        yield Block(document, line, language, title, found["code"], _reason(found["mark"], document, line))


def _reason(mark: str | None, document: Path, line: int) -> str | None:
    if mark is None or not mark.startswith("not run"):
        return None
    fits = _MARK.fullmatch(mark)
    if fits is None or fits["reason"] not in REASONS:
        raise ValueError(f"{document.name}:{line}: a mark is <!-- not run: REASON -->, one of {', '.join(REASONS)}")
    return mark.removeprefix("not run: ")


def every(language: str) -> list[Block]:
    """All blocks of a language, in the order of the documents."""
    return [block for document in ORDER for block in blocks(document) if block.language == language]


def lines(code: str) -> list[str]:
    """Commands as they are typed: continued lines are one, comments and empty lines none."""
    joined = code.replace("\\\n", " ")
    found: list[str] = []
    pending = ""
    for line in joined.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        if _is_open(pending):
            continue
        if pending.strip() and not pending.strip().startswith("#"):
            found.append(pending.strip())
        pending = ""
    return found


def _is_open(text: str) -> bool:
    """Whether a quotation goes on in the next line."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def words(line: str) -> Iterator[list[str]]:
    """The simple commands in a line, each as its words: of pipes, lists and substitutions too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in lexer:
        if set(word) <= set(_PUNCTUATION):
            yield from [command] if command else []
            command = []
        else:
            command.append(word)
    yield from [command] if command else []


def looks_like_shell(code: str) -> bool:
    """Whether the first line of a block without a language is something to type."""
    first = code.strip().split()
    return bool(first) and first[0].rsplit("/", 1)[-1] in _COMMANDS


def listing() -> str:
    """docs/COMMANDS.md: every command that no test runs, with its reason."""
    rows = [
        f"| `{' '.join(line.split()).replace('|', chr(92) + '|')}` | {block.document.name} | {block.reason} |"
        for block in every("sh")
        if block.reason is not None
        for line in lines(block.code)
    ]
    head = (
        "# Commands that no test runs\n\n"
        "Every command in these pages is run by `tests/system/test_documents.py` against a whole service, in the\n"
        "order of the pages, but for the ones below. That commands, options, targets and files exist is tested for\n"
        "all of them. This page is written by `python -m tests.docs.reading`.\n\n"
        "| command | in | reason |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    LIST.write_text(listing(), encoding="utf-8")
