"""What a person reads: a line for each run, and what all of them came to."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from chaos.play import Played


def line(played: Played) -> str:
    """One run."""
    done = ", ".join(str(hit.fault) for hit in sorted(played.hits, key=lambda hit: hit.at))
    missed = "".join(f"; nothing to hit: {fault}" for fault in played.missed)
    states = ", ".join(f"{count} {state}" for state, count in sorted(played.states.items()))
    back = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in played.back)
    jobs = f"{len(played.schedule.requests)} jobs ({states}) in {played.attempts} attempts"
    return (
        f"seed {played.schedule.seed}: {done}{missed} | {jobs} | lost steps {played.lost_steps} | back after {back} | "
        f"{played.seconds:.1f} s | violations {len(played.violations)}"
    )


def summary(runs: Sequence[Played]) -> str:
    """Recovery by fault, lost steps, and as the last line how many violations there were."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    struck: defaultdict[str, int] = defaultdict(int)
    for played in runs:
        for hit in played.hits:
            struck[hit.fault.name] += 1
        for name, seconds in played.back:
            times[name].append(seconds)
    rows = [f"{'fault':22}{'struck':>7}{'back':>6}{'median s':>10}{'longest s':>11}"]
    for name in sorted(struck):
        found = times[name]
        numbers = f"{statistics.median(found):>10.1f}{max(found):>11.1f}" if found else f"{'-':>10}{'-':>11}"
        rows.append(f"{name:22}{struck[name]:>7}{len(found):>6}{numbers}")
    jobs = sum(len(played.schedule.requests) for played in runs)
    attempts = sum(played.attempts for played in runs)
    longest = max((played.seconds for played in runs), default=0.0)
    rows += [
        f"runs: {len(runs)}, jobs: {jobs}, attempts: {attempts}, longest run: {longest:.1f} s",
        f"lost steps: {sum(played.lost_steps for played in runs)}",
        f"violations: {sum(len(played.violations) for played in runs)}",
    ]
    return "\n".join(rows)
