"""The documents are right: what they say to type is typed, in their order, at one whole service."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client.address import service_key
from tests.cmac_core.data.made_media import RATE, write_media
from tests.docs import reading
from tests.docs.reading import ROOT, Block
from tests.system.conftest import Service

pytestmark = pytest.mark.system

# Sizes that a test can wait for, in the place of what a document says.
SMALLER = {'"seeds": [0, 1]': '"seeds": [0]'}
PYTHON_RUN_IN = ("README.md", "TUTORIAL.md")
SECONDS = 300
KEPT = ("LANG", "TMPDIR", "PYTHONPATH", "XDG_RUNTIME_DIR")
CLASSES, CLIPS = ("buzz", "hum"), 10
PREAMBLE = """
set -eu -o pipefail
trap 'echo "THIS FAILED: $BASH_COMMAND" >&2' ERR
cd {desk}
"""


@pytest.fixture(scope="module")
def desk(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a checkout is one to who types there: a home with videos, and the commands."""
    desk = tmp_path_factory.mktemp("desk")
    for name, target in {".venv": Path(sys.prefix), "docs": ROOT / "docs"}.items():
        (desk / name).symlink_to(target)
    programs = desk / "programs"
    programs.mkdir()
    ready = Path(sys.prefix) / ".ready"
    for name, line in {
        "cmac": f'exec {sys.executable} -m client "$@"',
        "python": f'exec {sys.executable} "$@"',
        "python3": f'exec {sys.executable} "$@"',
        # What is installed is what is tested: nothing is installed by a test.
        "make": f'exec /usr/bin/make -C {ROOT} -o {ready} VENV={sys.prefix} "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    _film(desk / "home" / "videos")
    return desk


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", reading.ORDER, ids=lambda path: path.stem)
def test_what_a_document_says_to_type_works(service: Service, tiny: str, desk: Path, document: Path) -> None:
    script = PREAMBLE.format(desk=desk) + "".join(_typed(desk, block) for block in reading.blocks(document))
    done = subprocess.run(["bash", "-c", script], env=_environment(service, desk), capture_output=True, text=True,
                          timeout=SECONDS, check=False)  # fmt: skip
    assert done.returncode == 0, f"{document.name}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _typed(desk: Path, block: Block) -> str:
    """A block as a part of the script: a file that is written, a program, or the commands themselves."""
    code = block.code
    for usual, smaller in SMALLER.items():
        code = code.replace(usual, smaller)
    if block.title:
        return f"cat > {block.title} <<'END OF FILE'\n{code}END OF FILE\n"
    if block.language == "python" and block.document.name in PYTHON_RUN_IN:
        return f"python - <<'END OF PROGRAM'\n{code}END OF PROGRAM\n"
    if block.language != "sh" or block.reason is not None:
        return ""
    # PostgreSQL's socket knows the home by one path only, so not through a link in a desk.
    return code.replace("$PWD/.cmac", "$CMAC_HOME") + "\n"


def _environment(service: Service, desk: Path) -> dict[str, str]:
    """What a person at this desk has: no more settings than the service's own."""
    own = {name: value for name, value in os.environ.items() if name.startswith("CMAC_")}
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return own | kept | {
        "HOME": str(desk / "home"),
        "PATH": f"{desk / 'programs'}:/usr/local/bin:/usr/bin:/bin",
        "COLUMNS": "200",
        "URL": service.url,
        "KEY": service_key() or "",
    }  # fmt: skip


def _film(folder: Path) -> None:
    """Short videos in a folder for each class: noise under a tone of the class's own."""
    draw = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        tone = np.sin(np.arange(2 * RATE) * 2 * np.pi * (300 + 900 * number) / RATE)
        sound = (tone * 9000 + draw.normal(0, 300, 2 * RATE)).astype(np.int16)
        for clip in range(CLIPS):
            frames = draw.integers(0, 255, (24, 72, 96, 3), dtype=np.uint8)
            write_media(folder / name / f"{clip:02}.mp4", frames, sound=sound[None], fps=12)
