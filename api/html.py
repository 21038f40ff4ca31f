"""The frame of a page."""

from html import escape

from fastapi.responses import HTMLResponse

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.05rem; margin-bottom: .2rem; } a { color: #0b5c9e; }
section { border-top: 1px solid #ddd; padding: .4rem 0; } p { margin: .3rem 0; }
pre { font: 13px/1.4 ui-monospace, monospace; overflow: auto; } summary { cursor: pointer; }
td { padding: .1rem .8rem .1rem 0; vertical-align: top; } .answers { color: #666; font-size: .85rem; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd; } a { color: #7ab8ee; } section { border-color: #333; }
}
"""


_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


def page(title: str, body: str) -> HTMLResponse:
    """A whole page; `body` is HTML, escaped by the caller."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>",
        headers=_HEADERS,
    )
