"""A document of which each part is written by the measurement that it tells of."""

from pathlib import Path


def write_part(document: Path, name: str, text: str) -> None:
    """Put `text` between the part's two marks; a part that is not there is added at the end."""
    first, last = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
    part = f"{first}\n{text.strip()}\n{last}"
    old = document.read_text(encoding="utf-8") if document.exists() else ""
    if first in old and last in old:
        before, rest = old.split(first, 1)
        new = before + part + rest.split(last, 1)[1]
    else:
        new = f"{old.rstrip()}\n\n{part}\n".lstrip()
    document.write_text(new, encoding="utf-8")
