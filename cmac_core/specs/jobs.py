"""The kinds of job: request body, database column, file for torchrun and argument of the core in one."""

from typing import Annotated, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    model_validator,
)

from cmac_core.specs.base import Spec
from cmac_core.specs.clips import AudioFrontEnd, ClipGeometry, ClipSampling, check_short_side
from cmac_core.specs.corpus import SoundingObjects
from cmac_core.specs.finetuning import FinetuneJitter, FinetuneOptimization, TrainingClips
from cmac_core.specs.method import (
    Checkpoints,
    Contrastive,
    CorrelationFiltering,
    Loss,
    Moco,
    Model,
    Optimization,
    Single,
)
from cmac_core.specs.packing import SOUND_ALONE, WITHOUT_LISTS, Layout, PackedShard, Shard
from cmac_core.specs.placement import Queue, Resources
from cmac_core.specs.presets import DEFAULT_PRESET, expand
from cmac_core.specs.references import CheckpointReference, DatasetName, RandomInit, RelativePath, Slug
from cmac_core.specs.splits import Split

Precision = Literal["auto", "fp32", "bf16"]
WeightsLayout = Literal["auto", "torchvision", "gdt", "selavi", "ours"]


class Job(Spec):
    """What every kind has. `resources` and `queue` are the service's; the core ignores them."""

    name: str = Field("", max_length=200)
    preset: Literal["paper", "projected", "mutual", "small"] = Field(
        DEFAULT_PRESET,
        description="The paper's choices; the variant whose maps point at what sounds, mutual; or the lead it grew "
        "from, projected. small = paper at scale small.",
    )
    scale: Literal["paper", "ablation", "small"] = "paper"
    seed: NonNegativeInt = Field(0, le=2**53 - 1)
    resources: Resources = Resources()
    queue: Queue = Queue()

    @model_validator(mode="before")
    @classmethod
    def _expand_presets(cls, body: object) -> object:
        return expand(body, cls.model_fields["kind"].default)


class FolderSource(Spec):
    """A folder below a named root. By hand (inputs.json) the root is not looked at."""

    root: Slug = "media"
    path: str = Field(".", max_length=1000)


def _source_form(value: object) -> str:
    generated = "generate" in value if isinstance(value, dict) else isinstance(value, SoundingObjects)
    return "<generate>" if generated else "<folder>"


Source = Annotated[
    Annotated[FolderSource, Tag("<folder>")] | Annotated[SoundingObjects, Tag("<generate>")],
    Discriminator(_source_form),
]


class LabelTable(Spec):
    """A CSV file that lists the media and their labels. All other columns become labels."""

    path: RelativePath = "labels.csv"
    file: str = Field("video", description="Column that names the media file.")
    folder: str = Field("", description="Folder of the named files, relative to the source.")
    by_stem: bool = Field(False, description="Match names without their extension (ESC-50 as .ogg).")


class Pack(Job):
    """Media files in, dataset out: clips, manifest and a quarantine list."""

    kind: Literal["pack"] = "pack"
    dataset: Slug = Field(description="Name of the dataset to make; the service gives the version.")
    source: Source
    layout: Layout | None = Field(
        None, description="A public set as it is distributed: its own lists are read and counted, labels are theirs."
    )
    annotations: RelativePath | None = Field(
        None, description="Folder of the layout's lists below the source; without it they are looked for everywhere."
    )
    media: Literal["video", "audio"] = Field("video", description="Sets that are sound alone make it audio.")
    table: LabelTable | None = Field(
        None, description="Without one: labels.csv at the source if there is one, else class per folder."
    )
    allow_missing: bool = Field(False, description="Listed files that are not there are quarantined, not an error.")
    short_side: PositiveInt = Field(160, description="Larger video is resized to this, pixels; never enlarged.")
    gop: PositiveInt = 16
    crf: Annotated[int, Field(ge=0, le=51)] = 20
    max_seconds: PositiveFloat = Field(3600.0, description="Longer files are quarantined.")
    workers: NonNegativeInt = Field(0, description="Decoding processes; 0 is one per core.")
    shard: Shard | None = Field(None, description="Pack this share alone; a merge makes the dataset.")
    merge: tuple[PackedShard, ...] = Field((), max_length=1000, description="All shards of this spec, packed before.")

    @model_validator(mode="before")
    @classmethod
    def _sound_alone(cls, body: object) -> object:
        if isinstance(body, dict) and body.get("layout") in SOUND_ALONE:
            return {"media": "audio", **body}
        return body

    @model_validator(mode="after")
    def _reads_one_way(self) -> Self:
        if self.layout in SOUND_ALONE and self.media != "audio":
            raise ValueError(f"media: {self.layout} is sound alone; set it to audio, or leave it out")
        if self.layout is not None and isinstance(self.source, SoundingObjects):
            raise ValueError("layout: a generated corpus has its own; leave it out")
        if self.layout not in (None, "table") and self.table is not None:
            raise ValueError(f"table: layout {self.layout} knows its labels; leave table out, or set layout to table")
        if self.annotations is not None and (self.layout is None or self.layout in WITHOUT_LISTS):
            raise ValueError("annotations: goes with a layout that has lists: ucf101, hmdb51, kinetics400, ...")
        return self

    @model_validator(mode="after")
    def _shard_or_merge(self) -> Self:
        if self.shard is not None and self.merge:
            raise ValueError("merge: a shard merges nothing; give shard or merge")
        if (self.shard is not None or self.merge) and isinstance(self.source, SoundingObjects):
            raise ValueError("shard: a generated corpus is packed by one job")
        return self


class WeightsFile(Spec):
    """A file below a named root. By hand (inputs.json) the root is not looked at."""

    root: Slug = "media"
    path: RelativePath


class Scale(Spec):
    """What pictures of sound were normalised by: (x - mean) / std."""

    mean: float
    std: PositiveFloat


class Import(Job):
    """Weights made elsewhere (or exported here) in, a checkpoint out that evaluations and pretrainings may name."""

    kind: Literal["import"] = "import"
    source: WeightsFile
    layout: WeightsLayout = Field("auto", description="How its tensors are named; auto finds out.")
    audio: AudioFrontEnd | None = Field(
        None, description="Front end that its sound encoder knows; without one, what its layout is known for."
    )
    mel: Scale | None = Field(None, description="Scale of its pictures; without one, what its layout is known for.")


class Pretrain(Job):
    """CMAC pretraining; the defaults are the paper's main run."""

    kind: Literal["pretrain"] = "pretrain"
    objective: Literal["cmac", "single_v", "single_a"] = "cmac"
    dataset: DatasetName
    where: dict[str, str] = Field({}, description="Only clips whose columns have these values.")
    init: CheckpointReference | None = Field(
        None, description="Start from this checkpoint's networks, as far as they fit; without one from the seed."
    )
    data: ClipSampling = ClipSampling()
    audio: AudioFrontEnd = AudioFrontEnd()
    model: Model = Model()
    pcf: CorrelationFiltering = CorrelationFiltering()
    contrastive: Contrastive = Contrastive()
    moco: Moco = Moco()
    single: Single = Single()
    loss: Loss = Loss()
    optim: Optimization = Optimization()
    checkpoints: Checkpoints = Checkpoints()
    precision: Precision = "auto"

    @model_validator(mode="after")
    def _trains_something(self) -> Self:
        if self.objective != "cmac" and not self.contrastive.use:
            raise ValueError("contrastive.use: an objective of one modality is contrastive; leave it true")
        if self.objective == "cmac" and not self.contrastive.use and self.loss.lambda_ac == 0:
            raise ValueError("loss.lambda_ac: without contrast and without attention there is nothing to learn")
        if self.objective != "cmac" and self.contrastive.wi_pos:
            raise ValueError("contrastive.wi_pos: only the cmac objective has within-modal positives")
        if self.pcf.space == "projected" and not self.contrastive.use:
            raise ValueError("pcf.space: projected needs the projection heads, so contrastive.use must be true")
        if self.contrastive.wi_pos and self.optim.batch % 2:
            raise ValueError("optim.batch: wi_pos takes two clips of each video, so the batch must be even")
        if isinstance(self.init, RandomInit):
            raise ValueError("init: random_init is how a pretraining without init starts; leave it out")
        return self

    @property
    def together(self) -> int:
        """Clips that must lie on one rank: a BN group, or the two clips of a video."""
        return self.model.group or (2 if self.contrastive.wi_pos else 1)

    @model_validator(mode="after")
    def _guidance_can_be_made(self) -> Self:
        if self.pcf.space == "projected" and self.model.head.type != "linear":
            raise ValueError(
                "pcf.space: projected needs model.head.type linear, which alone keeps a kernel the mean of its map"
            )
        if self.pcf.source == "key" and not self.contrastive.use:
            raise ValueError("pcf.source: the key model is there for contrast; with contrastive.use false choose query")
        if self.pcf.source == "key" and self.pcf.target_grad != "stop":
            raise ValueError(
                "pcf.target_grad: the key model has no gradient; leave it at stop, or set pcf.source to query"
            )
        if self.loss.ac_share is not None and not self.contrastive.use:
            raise ValueError("loss.ac_share: a share of L_cl needs contrastive.use")
        return self


class Evaluation(Job):
    """What evaluations share: a frozen checkpoint, a dataset, and how clips are shown."""

    checkpoint: CheckpointReference
    dataset: DatasetName
    where: dict[str, str] = Field({}, description="Only clips whose columns have these values.")
    geometry: ClipGeometry = ClipGeometry()
    batch: PositiveInt = Field(16, description="Clips in a forward pass.")
    precision: Precision = "auto"


class Retrieval(Evaluation):
    """Video retrieval: test queries find train videos of their class (METHOD 7.2)."""

    kind: Literal["retrieval"] = "retrieval"
    label: str = "class"
    split: Split = Split()
    n_clips: PositiveInt = 10
    pool: tuple[Literal["gap", "max222"], ...] = Field(("gap", "max222"), min_length=1)
    k: tuple[PositiveInt, ...] = Field((1, 5, 10, 20, 50), min_length=1)


class Probe(Evaluation):
    """Logistic regression on a frozen encoder's features (METHOD 7.3)."""

    kind: Literal["probe"] = "probe"
    modality: Literal["audio", "video"]
    label: str = "class"
    split: Split = Split()
    n_clips: PositiveInt = 10
    seconds: PositiveFloat = Field(2.0, description="Length of an audio clip; video clips last frames / fps.")
    pool: tuple[Literal["gap", "max222", "max13"], ...] = ("gap",)
    l2: tuple[PositiveFloat, ...] = Field(
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1, description="Candidates; chosen on training data alone."
    )
    inner_folds: Annotated[int, Field(ge=2)] = 4

    @model_validator(mode="after")
    def _pool_fits(self) -> Self:
        wrong = {"audio": "max222", "video": "max13"}[self.modality]
        if wrong in self.pool:
            raise ValueError(f"pool: {wrong} does not go with modality {self.modality}")
        return self


class Attention(Evaluation):
    """Attention maps of chosen clips: s and ŝ of both modalities as numbers, pictures and video."""

    kind: Literal["attention"] = "attention"
    clips: tuple[str, ...] = Field((), description="Ids of clips; none means `limit` clips spread over the dataset.")
    limit: PositiveInt = Field(12, description="How many clips get pictures when none are named.")
    score_limit: PositiveInt = Field(500, description="How many clips with ground truth are scored.")


class Finetune(Evaluation):
    """The video encoder and a new classifier trained on labels, then tested (METHOD 7.1). `batch` is the test's."""

    kind: Literal["finetune"] = "finetune"
    label: str = "class"
    split: Split = Split()
    train_clips: PositiveInt = Field(10, le=1000, description="Random clips of each video in a pass over the data.")
    n_clips: PositiveInt = Field(10, description="Test clips of each video, from its start to its end.")
    spatial_crops: Literal[1, 3] = Field(1, description="Test crops of each clip: the center, or both ends too.")
    color_jitter: FinetuneJitter = FinetuneJitter()
    data: TrainingClips = TrainingClips()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bn_group: PositiveInt = Field(16, description="Clips that share batch statistics; batch / ranks is a multiple.")
    optim: FinetuneOptimization = FinetuneOptimization()
    select: Literal["last"] = Field("last", description="Which train_epoch is reported: no choice sees the test data.")
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.split.folds is not None:
            column = self.split.folds
            raise ValueError(
                f"split: fine-tuning is one job a split, and folds are many; mark train and test in a column, or say "
                f'{{"column": "{column}", "train": ..., "test": ...}}'
            )
        check_short_side(self.data.short_side, self.geometry.crop)
        return self


JobSpec = Annotated[Pack | Import | Pretrain | Retrieval | Probe | Attention | Finetune, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
KINDS = ("pack", "import", "pretrain", "retrieval", "probe", "attention", "finetune")
