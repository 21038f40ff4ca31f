"""All files of the manual, as the service sends them and as a site on disk; and whether its links lead somewhere."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from jinja2 import Template

from api.manual import documents, markdown, reference
from api.manual.markdown import Rendered
from api.ui.rendering import environment

API = Path("docs/API.md")  # made, not kept
HOME = "index.html"
SEARCH = "search.html"
INDEX = "words.js"


class Frame(NamedTuple):
    """What differs between the manual of a service and that on a disk."""

    static: str  # where stylesheet and scripts are
    lab: str  # where the lab's name leads


class Chapter(NamedTuple):
    """A place in the table of contents."""

    address: str
    title: str


def address(document: Path) -> str:
    """Of a document below the manual; all lie beside each other, so relative links work from any place."""
    return f"{document.stem.lower()}.html"


def chapters(openapi: Mapping[str, Any]) -> dict[Path, Rendered]:
    """Every document of the manual in its order, and the page of all calls behind the rest of docs/."""
    found = {document: _rendered(document) for document in documents.chapters()}
    return found | {API: made_reference(openapi)}


def page(name: str, openapi: Mapping[str, Any], frame: Frame) -> str | None:
    """A page's HTML; None when there is no such page."""
    every = chapters(openapi)
    contents = [Chapter(address(document), one.title) for document, one in every.items()]
    shown = {"contents": contents, "here": name, "principal": None, "csrf": None, "navigation": (), **frame._asdict()}
    if name == SEARCH:
        return _template("manual_search.html").render(title="Search the manual", index=INDEX, **shown)
    order = [one.address for one in contents]
    if name not in order:
        return None
    place = order.index(name)
    return _template("manual.html").render(
        title=list(every.values())[place].title,
        document=list(every.values())[place],
        before=contents[place - 1] if place else None,
        after=contents[place + 1] if place + 1 < len(contents) else None,
        **shown,
    )


def words(openapi: Mapping[str, Any]) -> str:
    """What is searched, as a script: a page opened from a disk may load that, and no JSON."""
    rows = [
        {"at": address(document) + (f"#{section.heading.anchor}" if section.heading.level > 1 else ""),
         "page": one.title, "heading": section.heading.text, "text": section.text}
        for document, one in chapters(openapi).items()
        for section in one.sections
    ]  # fmt: skip
    return f"window.manual = {json.dumps(rows, ensure_ascii=False)};\n"


def troubles(openapi: Mapping[str, Any], root: Path) -> list[str]:
    """Links and anchors that lead nowhere, and pictures that say nothing, one line each. `root`: the checkout."""
    every = chapters(openapi)
    found = [f"{document}: a picture has no words for who cannot see it"
             for document, one in every.items() if not one.described]  # fmt: skip
    for document, one in every.items():
        found += [f"{document}: {link}: {why}" for link in one.links if (why := _trouble(document, link, every, root))]
    missing = {Path(path) for path in documents.files(root) if path.suffix == ".md"} - set(every)
    return found + [f"{documents.INDEX}: does not name {path}" for path in sorted(missing)]


def _trouble(document: Path, link: str, every: Mapping[Path, Rendered], root: Path) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None  # another's site is not looked at
    target = documents.target(document, unquote(parts.path)) if parts.path else document
    if target not in every:
        return None if (root / target).exists() else "no such file"
    known = {heading.anchor for heading in every[target].headings}
    return f"no heading #{parts.fragment}" if parts.fragment and parts.fragment not in known else None


@cache
def _rendered(document: Path) -> Rendered:
    text = (documents.root() / document).read_text(encoding="utf-8")
    return markdown.render(text, lambda link: _address_of(document, link))


_REFERENCES: dict[int, Rendered] = {}


def made_reference(openapi: Mapping[str, Any]) -> Rendered:
    """The page of all calls; an app's document is one object and made once."""
    if id(openapi) not in _REFERENCES:
        _REFERENCES[id(openapi)] = markdown.render(reference.markdown(openapi), lambda link: _address_of(API, link))
    return _REFERENCES[id(openapi)]


def _address_of(document: Path, link: str) -> str | None:
    """A link of a document as the manual has it; None for files that are no part of it, as code is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return link
    target = documents.target(document, unquote(parts.path))
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    if target in (*documents.chapters(), API):
        return address(target) + fragment
    if target.suffix in documents.PICTURES:
        return PurePosixPath(target).relative_to("docs").as_posix()
    return None


def _template(name: str) -> Template:
    return environment().get_template(name)
