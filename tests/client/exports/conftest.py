"""A job with everything that an export has a place for."""

import io

import pytest
from PIL import Image

from cmac_core.events import Metrics
from tests.api.conftest import Lab
from tests.client.conftest import at_home, client, cmac, house, lab, serve

__all__ = ["at_home", "client", "cmac", "house", "lab", "serve"]


def png(width: int, height: int) -> bytes:
    """A picture of that size."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def job(lab: Lab) -> str:
    """A job with two curves, one of which has a hole, a value, a picture and a table."""
    job = lab.submit(name="exported", seed=3)
    lease = lab.start(job)
    (lab.folder(job) / "sub").mkdir()
    meta = {"clip": "a/b", "modality": "video", "map": "s", "shape": [2, 4, 4]}
    lab.tell(
        lease,
        lab.artifact(job, "a.png", png(6, 4), "image/png", "attention_png", **meta),
        lab.artifact(job, "sub/table.csv", b"a,b\n", "text/csv"),
        *(Metrics(step=step, values={"loss": 2.0 - step / 1000, "contrast/v": 6.0}) for step in range(1200)),
        Metrics(step=1200, values={"loss": None}),
    )
    lab.succeed(lease)
    return job
