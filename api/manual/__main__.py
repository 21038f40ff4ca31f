"""`python -m api.manual DIR`: the manual as a site on disk, which needs no service; fails on a broken link."""

import shutil
import sys
from pathlib import Path

from api.app import make_app
from api.manual import documents, reference, site
from api.settings import ApiSettings
from api.ui import static_files

STATIC = "static"
_OWN = ("style.css", "search.js", "icon.svg")


def main(arguments: list[str]) -> int:
    """1 when a link leads nowhere, each of which is told; the site is written all the same."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m api.manual DIR\n")
        return 2
    folder = Path(arguments[0])
    openapi = make_app(ApiSettings()).openapi()
    write(folder, openapi)
    troubles = site.troubles(openapi, documents.root())
    sys.stderr.writelines(f"{trouble}\n" for trouble in troubles)
    sys.stdout.write(f"The manual is in {folder}: open {(folder / site.HOME).absolute().as_uri()}\n")
    return 1 if troubles else 0


def write(folder: Path, openapi: dict[str, object]) -> None:
    """All of its files, in the place of those of before."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / STATIC).mkdir(parents=True)
    frame = site.Frame(static=STATIC, lab=site.HOME)
    for name in [*map(site.address, site.chapters(openapi)), site.SEARCH]:
        (folder / name).write_text(site.page(name, openapi, frame) or "", encoding="utf-8")
    (folder / site.INDEX).write_text(site.words(openapi), encoding="utf-8")
    (folder / site.API.name).write_text(reference.markdown(openapi), encoding="utf-8")
    for name, picture in documents.pictures().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, folder / name)
    for name in _OWN:
        (folder / STATIC / name).write_bytes(static_files.read(name).plain)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
