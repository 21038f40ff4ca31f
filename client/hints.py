"""Commands to copy: they work in the reader's shell, which may lack what `make` had set."""

import shlex
import shutil
import sys
from pathlib import Path

from client.address import home


def hint(arguments: str) -> str:
    """`cmac ARGUMENTS` as it has to be typed here."""
    program = Path(sys.argv[0])
    name = "cmac"
    if program.name == "cmac" and shutil.which("cmac") is None:
        name = str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)
    own = home() == Path("~/.cmac-lab").expanduser()
    return f"{'' if own else f'CMAC_HOME={shlex.quote(str(home()))} '}{name} {arguments}"
