"""How a run ends: here errors turn into the reason, detail and hint that a person reads. No torch here."""

import errno
import re
import sys
import traceback

from cmac_core.events import Ended
from cmac_core.training.errors import JobError

_OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory", re.IGNORECASE)
_TIMED_OUT = re.compile(r"timed? ?out", re.IGNORECASE)
_COLLECTIVE = re.compile(r"gloo|nccl|ProcessGroup|connection (closed|reset|refused)|broken pipe|socket", re.IGNORECASE)


def ended_by(error: BaseException) -> Ended:
    """The last event of a run that an error ended."""
    match error:
        case JobError():
            return Ended(outcome="failed", reason=error.reason, detail=str(error), hint=error.hint)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return Ended(outcome="failed", reason="disk_full", detail=str(error), hint="Make room, then resubmit.")
        case _ if out_of_memory(error):
            hint = "Lower optim.batch or batch, data.frames or the crop, or use more devices."
            return Ended(outcome="failed", reason="oom", detail=_first_line(error), hint=hint)
        case _ if broke_in_a_collective(error) and _TIMED_OUT.search(str(error)):
            return Ended(outcome="failed", reason="hung", detail=_first_line(error), hint="A rank stopped answering.")
        case _ if broke_in_a_collective(error):
            # Which reason is right (killed, out of memory, a lost machine) only the one who started us can tell.
            return Ended(outcome="failed", detail=f"another rank went away: {_first_line(error)}")
        case ValueError():
            return Ended(outcome="failed", reason="user_error", detail=str(error), hint="The log has the details.")
        case _:
            return Ended(outcome="failed", reason="user_error", detail=_first_line(error), hint="See the log's end.")


def report(error: BaseException) -> None:
    """Print an error to stderr: words for what a user can mend, a traceback for all else."""
    if isinstance(error, JobError):
        sys.stderr.write(f"error: {error}\n" + (f"{error.hint}\n" if error.hint else ""))
    else:
        traceback.print_exception(error)
    sys.stderr.flush()


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or on the host."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def broke_in_a_collective(error: BaseException) -> bool:
    """Whether this rank failed only because it could not reach another one."""
    if type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError"):
        return True
    return isinstance(error, RuntimeError) and _COLLECTIVE.search(str(error)) is not None


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:1000]
