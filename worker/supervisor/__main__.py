"""`python -m worker.supervisor ATTEMPT EPOCH PART`: started by the worker, and not its child any more."""

import os
import sys


def main(arguments: list[str]) -> None:
    """Fork once more, so that whoever started this has nobody to wait for; the rest is loaded after that."""
    if os.fork() > 0:
        os._exit(0)

    from uuid import UUID

    from store.fence import Lease
    from worker import logs
    from worker.processes import default_signals
    from worker.supervisor.run import attend

    logs.set_up()
    default_signals()
    attempt, epoch, part = arguments
    attend(Lease(UUID(attempt), int(epoch), int(part)))


if __name__ == "__main__":
    main(sys.argv[1:])
