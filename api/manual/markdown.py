"""A document as HTML: anchors for headings, links that fit the manual, code in colors. The text is our own."""

import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_NO_WORD = re.compile(r"[^\w\- ]")
_COLORS = HtmlFormatter(nowrap=True)


class Heading(NamedTuple):
    """One heading; level 1 is the document's title."""

    level: int
    anchor: str
    text: str


class Section(NamedTuple):
    """What stands below a heading, as plain words to search."""

    heading: Heading
    text: str


class Rendered(NamedTuple):
    """A document: HTML below its title, and what leads into and out of it."""

    title: str
    body: str
    headings: tuple[Heading, ...]
    sections: tuple[Section, ...]
    links: tuple[str, ...]  # as they are written, pictures too
    described: bool  # every picture says what it shows


Rewrite = Callable[[str], str | None]


def render(text: str, rewrite: Rewrite) -> Rendered:
    """`rewrite`: from a link as written to its address in the manual; None when it has none there."""
    parser = _parser()
    tokens = parser.parse(_COMMENT.sub("", text))
    links, described = _follow(tokens, rewrite)
    _align(tokens)
    headings = _anchor(tokens)
    sections = _sections(tokens, headings)
    title = headings[0].text if headings and headings[0].level == 1 else ""
    body = tokens[3:] if title else tokens  # the page shows the title itself
    html = parser.renderer.render(body, parser.options, {})
    return Rendered(title, html, tuple(headings), tuple(sections), tuple(links), described)


def slug(text: str) -> str:
    """A heading's anchor, as git hosts make it."""
    return _NO_WORD.sub("", text.strip().lower()).replace(" ", "-")


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True, "typographer": False}).enable(["table", "strikethrough"])
    for rule in (fence, code_block, table_open, table_close):
        parser.add_render_rule(rule.__name__, rule)
    return parser


def fence(_: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """Code; in colors where its language is named."""
    token = tokens[index]
    language = token.info.strip().split(" ")[0]
    try:
        code = highlight(token.content, get_lexer_by_name(language), _COLORS) if language else escape(token.content)
    except ClassNotFound:
        code = escape(token.content)
    return f'<pre class="code" tabindex="0"><code>{code}</code></pre>\n'


def code_block(_: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """Indented code: equations, mostly."""
    return f'<pre class="code" tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'


def table_open(_: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """Tables scroll inside themselves."""
    return '<div class="table" tabindex="0" role="region" aria-label="Table"><table>\n'


def table_close(_: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    return "</table></div>\n"


def _follow(tokens: Sequence[Token], rewrite: Rewrite) -> tuple[list[str], bool]:
    """Rewrites the links of all tokens, in place; what has no address in the manual stays as its text."""
    links, described = [], True
    for inline in (token for token in tokens if token.type == "inline"):
        kept: list[Token] = []
        dropped = 0
        for child in inline.children or []:
            if child.type == "image":
                links.append(str(child.attrs["src"]))
                child.attrs["src"] = rewrite(str(child.attrs["src"])) or ""
                child.attrs["loading"] = "lazy"
                described &= bool(child.content)
            elif child.type == "link_open":
                links.append(str(child.attrs["href"]))
                address = rewrite(str(child.attrs["href"]))
                if address is None:
                    dropped += 1
                    continue
                child.attrs["href"] = address
            elif child.type == "link_close" and dropped:
                dropped -= 1
                continue
            kept.append(child)
        inline.children = kept
    return links, described


def _align(tokens: Sequence[Token]) -> None:
    """Columns that a document sets to the right are numbers to the stylesheet."""
    for token in tokens:
        if token.type in ("th_open", "td_open") and token.attrs.pop("style", None) == "text-align:right":
            token.attrs["class"] = "number"


def _anchor(tokens: Sequence[Token]) -> list[Heading]:
    """Gives every heading an id, as git hosts do: repeated ones are numbered."""
    found: list[Heading] = []
    taken: dict[str, int] = {}
    for token, inline in pairwise(tokens):
        if token.type != "heading_open":
            continue
        text = _words(inline)
        anchor = slug(text)
        times = taken.get(anchor, 0)
        taken[anchor] = times + 1
        anchor = f"{anchor}-{times}" if times else anchor
        token.attrs["id"] = anchor
        found.append(Heading(int(token.tag[1:]), anchor, text))
    return found


def _sections(tokens: Sequence[Token], headings: Sequence[Heading]) -> list[Section]:
    """The words below each heading."""
    texts: list[list[str]] = []
    for token in tokens:
        if token.type == "heading_open":
            texts.append([])
        elif texts and token.type == "inline":
            texts[-1].append(_words(token))
        elif texts and token.type in ("fence", "code_block"):
            texts[-1].append(token.content)
    return [Section(heading, " ".join(" ".join(text).split())) for heading, text in zip(headings, texts, strict=True)]


def _words(inline: Token) -> str:
    children: list[Any] = inline.children or []
    return "".join(child.content if child.type in ("text", "code_inline") else " " * (child.type == "softbreak")
                   for child in children)  # fmt: skip
