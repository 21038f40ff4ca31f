"""The `cmac` command: says what went wrong in words, and by its exit code."""

import json
import sys
import traceback
from datetime import datetime
from typing import NoReturn

from client.address import home
from client.commands.app import app
from client.errors import ApiError, ClientError
from client.terminal import notes

FAULT = 70  # a mistake of ours (EX_SOFTWARE)


def main() -> NoReturn:
    """0 ok, 1 a job failed, 2 bad input, 3 no access, 4 service away, 130 interrupted."""
    try:
        app()
    except ClientError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # `cmac jobs | head`: nobody reads on, and that is no error
        sys.exit(0)
    except Exception as error:  # recorded below; a stack trace helps nobody who only uses the command
        notes().print(f"cmac: a mistake of ours: {type(error).__name__}: {error}", style="red", markup=False)
        notes().print(f"The details are in {_record()}; please report them.")
        sys.exit(FAULT)
    sys.exit(0)


def _tell(error: ClientError) -> None:
    if "--json" in sys.argv[1:]:
        body = {"error": str(error), "exit_code": error.exit_code}
        if isinstance(error, ApiError):
            fields = [problem._asdict() for problem in error.errors]
            body |= {"code": error.code, "status": error.status, "errors": fields, "request_id": error.request_id}
        print(json.dumps(body, default=str), file=sys.stderr)
    else:
        notes().print("[red]error:[/] ", end="")
        notes().print(str(error), markup=False)


def _record() -> str:
    file = home() / "logs" / "cmac.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as log:
            log.write(f"{datetime.now().isoformat()} {sys.argv[1:]}\n{traceback.format_exc()}\n")
    except OSError:
        return f"this trace:\n{traceback.format_exc()}"
    return str(file)


if __name__ == "__main__":
    main()
