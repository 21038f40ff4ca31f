"""Where the service is and with which key: asked for, from the environment, or of this machine's own service."""

import json
import os
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8300"


def home() -> Path:
    """The folder of this machine's own service: $CMAC_HOME, else ~/.cmac-lab."""
    return Path(os.environ.get("CMAC_HOME") or "~/.cmac-lab").expanduser().absolute()


def home_here() -> Path | None:
    """The home that `make up` made in this folder, where $CMAC_HOME does not name one."""
    here = Path.cwd() / ".cmac"
    return here if not os.environ.get("CMAC_HOME") and (here / "api.json").is_file() else None


def service_url(url: str | None = None) -> str:
    """`url`, else $CMAC_URL, else what `cmac up` wrote into the home, else the default port of this machine."""
    found = url or os.environ.get("CMAC_URL") or _written_url() or DEFAULT_URL
    return found.rstrip("/")


def service_key(key: str | None = None) -> str | None:
    """`key`, else $CMAC_API_KEY, else the admin key that the first start left in the home; None without any."""
    found = key or os.environ.get("CMAC_API_KEY")
    if found:
        return found.strip()
    try:
        return (home() / "admin.key").read_text().strip() or None
    except OSError:
        return None


def _written_url() -> str | None:
    try:
        return str(json.loads((home() / "api.json").read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None
