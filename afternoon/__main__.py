"""`make afternoon`: play it, print the log of decisions, a summary and what was checked; exit 1 if unfair."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from afternoon import checks, decisions, records
from afternoon.lab import opened
from afternoon.script import Script
from afternoon.summary import summary
from afternoon.watch import Watch

# Less than a third of the defaults, as all times that follow from it; much less, and a busy machine loses launches.
LEASE = "3/9/18/22.5"


def main() -> int:
    """Play, tell, check; the exit code."""
    parser = argparse.ArgumentParser(prog="afternoon", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of how long jobs work")
    parser.add_argument("--lease", default=LEASE, help=f"CMAC_LEASE of the service; slower for slow machines ({LEASE})")
    parser.add_argument("--keep", action="store_true", help="leave the service's home behind in any case")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="cmac-afternoon-"))
    home.chmod(0o755)  # root's PostgreSQL is another user
    violations = ["the afternoon was not played to its end"]
    try:
        with opened(home, options.lease) as lab:
            began = time.monotonic()
            with Watch() as watch:
                story = Script(lab, options.scale).play()
            seconds = time.monotonic() - began
            found = records.read(story, watch)
            violations = checks.violations(found, lab.service.folder)
            print(f"The clock starts at {story.began:%H:%M:%S} UTC.\n")
            print("\n".join([*decisions.log(found), "", *summary(found), ""]))
            print("".join(f"violation: {text}\n" for text in violations), end="")
            print(f"{seconds:.0f} s, {len(checks.CHECKS)} checks, violations: {len(violations)}", flush=True)
    except TimeoutError as error:
        print(f"the afternoon does not go on: {error}; a slower machine needs a slower --lease", file=sys.stderr)
    finally:
        if options.keep or violations:
            print(f"the service's home is kept: {home}", file=sys.stderr)
        else:
            shutil.rmtree(home, ignore_errors=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
