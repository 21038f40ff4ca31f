"""`python -m cmac_core` of a worker that has this folder first on its path: short programs instead of trainings.

Jobs of the kind that `chaos.program` stands in for are its own; all others run the real core.
"""

import importlib.util
import json
import sys
from pathlib import Path

import cmac_core
from chaos import program


def main(arguments: list[str]) -> int:
    """The exit code of the program, or of the real core."""
    spec = json.loads(Path(arguments[0]).read_text())
    if spec["kind"] == program.KIND:
        return program.main(spec, Path(arguments[2]))
    here = Path(__file__).parent
    real = next(Path(folder) / "__main__.py" for folder in cmac_core.__path__ if Path(folder) != here)
    found = importlib.util.spec_from_file_location("cmac_core_main", real)
    assert found is not None
    assert found.loader is not None
    core = importlib.util.module_from_spec(found)
    found.loader.exec_module(core)
    return int(core.main(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
