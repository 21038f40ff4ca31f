"""Who asks whom: the key's owner, and the versions of both sides."""

from importlib.metadata import version as installed

from client import tables
from client.api import Client
from client.terminal import JsonFlag, UrlOption, answer


def whoami(json: JsonFlag = False, url: UrlOption = None) -> None:
    """Say at which service you are, as whom, and what your key may do."""
    with Client(url) as lab:
        body = {"url": lab.url, **lab.me()}
    names = ("url", "user", "role", "project", "key")
    pairs = [*((name, body[name]) for name in names), ("scopes", ", ".join(body["scopes"] or ["all of the role"]))]
    answer(body, lambda: tables.facts(pairs), as_json=json)


def version(json: JsonFlag = False, url: UrlOption = None) -> None:
    """Say which version this is, which the service has, and whether that is ready."""
    with Client(url) as lab:
        body = {"client": installed("cmac-lab"), "url": lab.url, "service": lab.version(), "ready": lab.ready()}
    pairs = [
        ("client", body["client"]),
        ("service", tables.cell(body["service"])),
        ("ready", tables.cell(body["ready"])),
        ("url", body["url"]),
    ]
    answer(body, lambda: tables.facts(pairs), as_json=json)
