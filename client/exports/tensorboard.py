"""Jobs as runs of TensorBoard: curves, final values with settings, attention pictures."""

import struct
import tempfile
from pathlib import Path
from typing import Any

from client.exports.runs import Run, plain_name
from client.places import labelled

_PNG_SIZE = slice(16, 24)  # width and height, as every PNG tells them
_RGBA = 4


def write_events(run: Run, out: Path) -> Path:
    """Write a run into a folder of its own below `out`; what an earlier export left there goes.

    Raises ImportError, which says what to install.
    """
    try:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams
    except ImportError as error:
        raise ImportError("files of TensorBoard need tensorboardX: pip install 'cmac-lab[tensorboard]'") from error
    folder = out / labelled(run.job.name or run.job.kind, run.job.id)
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the old files, which stay until the new ones are whole: names are of the second, and might be theirs.
    fresh = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    with SummaryWriter(str(fresh)) as writer:
        for point in run.points:
            writer.add_scalar(point.name, point.value, point.step, walltime=point.at)
        for name, value in run.finals.items():
            writer.add_scalar(plain_name(name), value, 0)
        settings = {name: _plain(value) for name, value in (run.settings | run.tags).items()}
        for summary in hparams(settings, {plain_name(name): value for name, value in run.finals.items()}):
            writer.file_writer.add_summary(summary)
        _add_pictures(run, writer)
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink(missing_ok=True)
    for new in fresh.iterdir():
        new.rename(folder / new.name)
    fresh.rmdir()
    return folder


def _add_pictures(run: Run, writer: Any) -> None:
    """The overlays as they are: TensorBoard reads PNG."""
    from tensorboardX.proto.summary_pb2 import Summary

    for one in run.job.attention():
        if (png := one.picture()) is None:
            continue
        width, height = struct.unpack(">II", png[_PNG_SIZE])
        image = Summary.Image(width=width, height=height, colorspace=_RGBA, encoded_image_string=png)
        tag = f"attention/{one.clip}/{one.modality}/{one.map}"
        writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), 0)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
