"""Write the lock files: hashes, and no download address, so that any registry serves."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
UV = Path(sys.executable).with_name("uv")
EXTRAS = {"dev": ["dev"], "api": ["api"], "worker": ["worker", "core"]}


def lock(output: str, *source: str) -> None:
    """Resolve for Python 3.11 to 3.13 on any platform."""
    command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", *source, "--output-file", str(HERE / output)]
    subprocess.run(command, check=True, cwd=HERE.parent)
    text = (HERE / output).read_text()
    assert "://" not in text, f"{output} names an address"


def main() -> None:
    """One file per way to install: development, the api image, the worker image, and uv itself."""
    # The same versions everywhere: the smaller sets are constrained by the full one.
    lock("dev.txt", "pyproject.toml", "--extra", "dev")
    for name in ("api", "worker"):
        extras = [argument for extra in EXTRAS[name] for argument in ("--extra", extra)]
        lock(f"{name}.txt", "pyproject.toml", *extras, "--constraint", str(HERE / "dev.txt"))
    (HERE / "uv.in").write_text("uv\n")
    lock("uv.txt", str(HERE / "uv.in"))
    (HERE / "uv.in").unlink()


if __name__ == "__main__":
    main()
