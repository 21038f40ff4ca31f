"""The evaluations below a row, at the paper's size and at a small one (METHOD 7, 12)."""

from collections.abc import Iterator
from typing import NamedTuple

from cmac_core.experiments.cost import FINETUNE
from cmac_core.experiments.drafts import SET, Body, Draft, at
from cmac_core.experiments.paper import FINETUNED
from cmac_core.experiments.tables import Column, Evaluation, Measure
from cmac_core.specs import KINDS, Attention, JobSpec, Pretrain, Probe
from cmac_core.specs.experiment import Experiment

ACCURACY = "accuracy"


class Evaluations(NamedTuple):
    """Jobs below each row, and the columns that they fill."""

    jobs: tuple[Evaluation, ...]
    columns: tuple[Column, ...]


def finetuned(spec: Experiment, splits: tuple[int, ...], color_jitter: bool) -> Evaluations:
    """UCF101 and HMDB51, one job a split (METHOD 7.1; Tables 1 to 4, Figure 4)."""
    jobs: list[Evaluation] = []
    for part in FINETUNED:
        body: Body = {"kind": FINETUNE, "label": "class", "color_jitter": {"on": color_jitter}}
        drafts = {
            f"split{split}": _draft(spec, part, {**body, "split": {"column": f"split{split}"}}) for split in splits
        }
        jobs.append(Evaluation(part, drafts))
    columns = (Column(part, title, part, Measure(ACCURACY, "video")) for part, title in FINETUNED.items())
    return Evaluations(tuple(jobs), tuple(columns))


def retrieved(spec: Experiment) -> Evaluations:
    """UCF101 and HMDB51, split 1 (METHOD 7.2; Table 5)."""
    body: Body = {"kind": "retrieval", "label": "class", "split": {"column": "split1"}}
    jobs = tuple(Evaluation(part, {"": _draft(spec, part, body)}) for part in FINETUNED)
    columns = (
        Column(f"{part}_r{k}", f"{title} R@{k}", part, Measure(f"r@{k}", "video", "gap"))
        for part, title in FINETUNED.items()
        for k in (1, 5, 10)
    )
    return Evaluations(jobs, tuple(columns))


def heard(spec: Experiment) -> Evaluations:
    """ESC-50 and the two readings of DCASE, frozen audio encoder (METHOD 7.3, 7.4; Table 6)."""
    probe: Body = {"kind": "probe", "modality": "audio"}
    minute: Body = {**probe, "label": "class", "n_clips": 60, "seconds": 1.0}
    bodies = {
        "esc50": ("ESC-50", {**probe, "label": "category", "split": {"folds": "fold"}}),
        # Five folds inside the private set, the official rule of 2013.
        "dcase2013": ("DCASE2013", {**minute, "where": {"split": "test"}, "split": {"folds": "fold"}}),
        "dcase2014": ("DCASE2014", {**minute, "split": {"column": "split"}}),
    }
    jobs = tuple(Evaluation(part, {"": _draft(spec, part, body)}) for part, (_, body) in bodies.items())
    columns = (Column(part, title, part, Measure(ACCURACY, "audio")) for part, (title, _) in bodies.items())
    return Evaluations(jobs, tuple(columns))


def looked_at(spec: Experiment) -> Evaluations:
    """Maps of chosen clips; scored where the truth is known (Figure 5)."""
    job = Evaluation("attention", {"": _draft(spec, "pretrain", {"kind": "attention"})})
    return Evaluations((job,), (*POINTING, *AGREEMENT))


POINTING = (
    Column("pointing_s", "pointing s", "attention", Measure("pointing_s", "video")),
    Column("pointing_s_hat", "pointing ŝ", "attention", Measure("pointing_s_hat", "video")),
)
AGREEMENT = (
    Column("agreement_video", "s and ŝ, video", "attention", Measure("correlation_s_s_hat", "video"), "r"),
    Column("agreement_audio", "s and ŝ, audio", "attention", Measure("correlation_s_s_hat", "audio"), "r"),
)


def small(spec: Experiment, *, recall: tuple[int, ...] = (1,), pictures: int = 2) -> Evaluations:
    """What stands for the paper's evaluations on one small corpus with a column `split`; `pictures` clips are drawn."""
    retrieval = _draft(spec, "ucf101", {"kind": "retrieval", "pool": ["gap"], "k": [1, 5, 10]})
    sound, sight = (
        _draft(spec, part, {"kind": "probe", "modality": modality})
        for part, modality in (("esc50", "audio"), ("ucf101", "video"))
    )
    maps = _draft(spec, "pretrain", {"kind": "attention", "limit": pictures})
    drafts = {"retrieval": retrieval, "audio_probe": sound, "video_probe": sight, "attention": maps}
    columns = [Column(f"r{k}", f"R@{k}", "retrieval", Measure(f"r@{k}", "video", "gap")) for k in recall]
    columns += [
        Column("audio_probe", "audio probe", "audio_probe", Measure(ACCURACY, "audio")),
        Column("video_probe", "video probe", "video_probe", Measure(ACCURACY, "video")),
        *POINTING,
    ]
    # A minute on two cores; the paper's 12 passes of 10 clips would take longer than the pretraining.
    short: Body = {"kind": FINETUNE, "train_clips": 1, "optim": {"epochs": 6}}
    drafts[FINETUNE] = _draft(spec, "ucf101", short)
    columns.append(Column(FINETUNE, "fine-tuned", FINETUNE, Measure(ACCURACY, "video")))
    return Evaluations(tuple(Evaluation(key, {"": draft}) for key, draft in drafts.items()), tuple(columns))


def only(found: Evaluations, *keys: str) -> Evaluations:
    """Some of the evaluations."""
    return Evaluations(
        tuple(job for job in found.jobs if job.key in keys),
        tuple(column for column in found.columns if column.evaluation in keys),
    )


def lacks(trained: Pretrain | None, evaluation: JobSpec) -> str | None:
    """Why an evaluation says nothing of a pretraining (None: of encoders as initialized); None when it does."""
    if trained is None:
        return "needs a trained model" if isinstance(evaluation, Attention) else None
    absent = {"single_v": "audio", "single_a": "video"}.get(trained.objective)
    if isinstance(evaluation, Attention):
        if absent is None:
            return "lambda 0 learns no attention" if trained.loss.lambda_ac == 0 else None
        return f"{trained.objective} has no {absent} encoder"
    needed = evaluation.modality if isinstance(evaluation, Probe) else "video"
    return f"{trained.objective} has no {absent} encoder" if needed == absent else None


def first_measure(kind: str) -> Measure:
    """What a kind is measured by when nobody says."""
    match kind:
        case "retrieval":
            return Measure("r@1", "video")
        case "attention":
            return Measure("pointing_s", "video")
        case _:
            return Measure(ACCURACY)


def changes_of(spec: Experiment, kind: str) -> Iterator[tuple[str, str]]:
    """The paths of `set` that go to jobs of a kind, each within the job and as it was written."""
    for path in spec.set:
        first, _, rest = path.partition(".")
        addressed, inner = (first, rest) if rest and first in KINDS else ("pretrain", path)
        if addressed == kind:
            yield inner, path


def changed(draft: Draft, spec: Experiment) -> Draft:
    """With what `set` says of its kind."""
    for inner, path in changes_of(spec, str(draft.body["kind"])):
        draft = draft.put(inner, spec.set[path], at(SET, path))
    return draft


def _draft(spec: Experiment, part: str, body: Body) -> Draft:
    dials = {"preset": spec.preset, "scale": spec.scale}
    draft = Draft({**dials, **body, "dataset": spec.dataset_of(part)}, SET)
    draft = draft.named("/dataset", spec.dataset_pointer(part)).named("/preset", "/preset")
    return changed(draft, spec)
