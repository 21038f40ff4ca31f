"""A browser without scripts: keeps its cookie, knows its CSRF token, says where its requests come from."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from store.keys import Role

Browser = Callable[..., httpx2.Client]


@pytest.fixture
def browse(lab: Any) -> Iterator[Browser]:
    """Sign in with a new key of this role (`None`: not at all)."""
    with ExitStack() as stack:

        def start(role: Role | None = Role.viewer, **of_key: Any) -> httpx2.Client:
            headers = {"Accept": "text/html", "Origin": lab.url}
            http = stack.enter_context(httpx2.Client(base_url=lab.url, headers=headers, timeout=20, trust_env=False))
            if role is not None:
                answer = http.post("/session", json={"key": lab.key(role, **of_key)})
                assert answer.status_code == 201, answer.text
                http.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
            return http

        yield start
