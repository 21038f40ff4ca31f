"""`torchrun --nproc-per-node=N -m cmac_core SPEC.json --run-dir DIR`: one job, from its spec to its last event.

Exit codes: 0 finished, 75 saved and left because it was asked to, 1 failed. The last line of events.jsonl says why.
"""

import argparse
import sys
from pathlib import Path
from typing import assert_never

from pydantic import ValidationError

from cmac_core.events import Ended
from cmac_core.specs import JOB_SPEC, Attention, Finetune, Import, JobSpec, Pack, Pretrain, Probe, Retrieval
from cmac_core.specs.problems import field_problems
from cmac_core.training.ending import report
from cmac_core.training.errors import BadSpec, Left, UserError
from cmac_core.training.inputs import INPUTS_FILE, check_inputs, read_inputs
from cmac_core.training.ranks import Place, Ranks
from cmac_core.training.run import Run
from cmac_core.training.signals import StopFlag, write_pid_file


def main(argv: list[str] | None = None) -> int:
    """Run one job; returns the exit code."""
    stop = StopFlag()
    stop.listen()
    arguments = _parse(argv)
    place = Place.from_environment()
    try:
        arguments.run_dir.mkdir(parents=True, exist_ok=True)
        run = Run(
            arguments.run_dir.resolve(),
            {},
            rank=place.rank,
            world_size=place.world_size,
            local_rank=place.local_rank,
            stop=stop,
            removes_old=not arguments.keep_checkpoints,
        )
        write_pid_file(run.folder, place.rank)
    except OSError as error:
        report(UserError(f"--run-dir: {error}", "Give a folder that can be written."))
        return 1
    with run:
        return _run(arguments, run, place)


def _run(arguments: argparse.Namespace, run: Run, place: Place) -> int:
    ranks = Ranks(place, lambda ended: _record(run, ended))
    try:
        _work(arguments, run, ranks)
    except Left:
        return ranks.leave()
    except (Exception, KeyboardInterrupt) as error:  # the one place where errors become an end
        report(error)
        return ranks.fail(error)
    return ranks.finish()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cmac_core", description="Run one job from its spec.")
    parser.add_argument("spec", type=Path, metavar="SPEC", help="the job's spec, a JSON file")
    parser.add_argument("--run-dir", type=Path, required=True, metavar="DIR", help="where events and files go")
    parser.add_argument("--inputs", type=Path, metavar="FILE", help=f"what it reads (default: {INPUTS_FILE} by SPEC)")
    parser.add_argument(
        "--keep-checkpoints", action="store_true", help="remove no old checkpoint: whoever started it does"
    )
    return parser.parse_args(argv)


def _work(arguments: argparse.Namespace, run: Run, ranks: Ranks) -> None:
    spec = read_spec(arguments.spec)
    file = arguments.inputs or arguments.spec.parent / INPUTS_FILE
    run.inputs = read_inputs(file)
    check_inputs(spec, run.inputs, file)
    if run.world_size > 1:
        if not isinstance(spec, Pretrain | Finetune):
            raise UserError(f"{spec.kind} runs as one process, not {run.world_size}", "Use python -m cmac_core.")
        ranks.join(gpu=run.device.type == "cuda")
    _dispatch(spec, run, ranks)


def read_spec(file: Path) -> JobSpec:
    """The spec in a file. Raises BadSpec, which names every wrong field."""
    try:
        return JOB_SPEC.validate_json(file.read_bytes())
    except OSError as error:
        raise BadSpec(f"cannot read the spec: {error}") from error
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == "json_invalid":
            raise BadSpec(f"{file} is not JSON: {error.errors(include_url=False)[0]['msg']}") from error
        problems = field_problems(error)
        lines = [f"{p.pointer or '/'}: {p.message}" + (f" ({p.hint})" if p.hint else "") for p in problems]
        raise BadSpec(f"{file}: " + "; ".join(lines)) from error


def _dispatch(spec: JobSpec, run: Run, ranks: Ranks) -> None:
    # Each kind imports what it needs: a pack starts without torch.
    match spec:
        case Pack():
            from cmac_core.jobs import pack

            run.start(spec)
            pack.run(spec, run)
        case Import():
            from cmac_core.jobs import weights

            run.start(spec)
            weights.run(spec, run)
        case Pretrain():
            from cmac_core.jobs import pretrain

            pretrain.run(spec, run, ranks)
        case Retrieval():
            from cmac_core.jobs import retrieval

            run.start(spec)
            retrieval.run(spec, run)
        case Probe():
            from cmac_core.jobs import probe

            run.start(spec)
            probe.run(spec, run)
        case Attention():
            from cmac_core.jobs import attention

            run.start(spec)
            attention.run(spec, run)
        case Finetune():
            from cmac_core.jobs import finetune

            finetune.run(spec, run, ranks)
        case _:
            assert_never(spec)


def _record(run: Run, ended: Ended) -> None:
    run.emit(ended)
    if run.log is not None:
        run.log.sync()


if __name__ == "__main__":
    sys.exit(main())
