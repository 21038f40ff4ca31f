"""What a job found out, as plain objects."""

import builtins
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from client import frames
from client.downloads import download, fetch
from client.notebook import table_html

if TYPE_CHECKING:
    import numpy
    import pandas

    from client.connection import Connection


R = TypeVar("R", bound="Result")


class Answer(BaseModel):
    """A JSON object of the service; fields that a newer service adds are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Value(Answer):
    """One number with what it was measured on, and what a random encoder and chance reach."""

    name: str
    value: float
    unit: str = "%"
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    split: str | None = None
    fold: str | None = None
    seed: int | None = None
    pool: str | None = None
    selection: str | None = None
    modality: str | None = None
    paper: float | None = None
    random_init: float | None = None
    chance: float | None = None

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """Ours, a random encoder's, chance, the paper's, and of how many."""
        return (self.value, self.random_init, self.chance, self.paper, self.n)

    @property
    def labels(self) -> dict[str, str]:
        """What tells this value from others of the same name."""
        names = ("modality", "pool", "split", "fold", "seed", "selection")
        return {name: str(getattr(self, name)) for name in names if getattr(self, name) is not None}


class Lineage(Answer):
    """Where the numbers come from."""

    checkpoint: str | None = None
    pretrain_job: str | None = None
    dataset: Any = None
    seed: int | None = None


class Artifact(Answer):
    """A file that a job left, named by its sha256."""

    name: str
    kind: str = ""
    media_type: str = "application/octet-stream"
    bytes: int = 0
    sha256: str
    url: str
    meta: dict[str, Any] = {}
    _connection: "Connection" = PrivateAttr()

    def content(self) -> builtins.bytes:
        """The bytes, checked against the sha256. Raises BadDownload."""
        return fetch(self._connection, self.url, self.sha256)

    def save(self, path: Path | str) -> Path:
        """Write the checked bytes to `path` (a folder: under its own name). Raises BadDownload."""
        path = Path(path)
        target = path / Path(self.name).name if path.is_dir() else path
        return download(self._connection, self.url, self.sha256, target)


class AttentionMap(Answer):
    """One map of one clip: links to the numbers, the overlay picture and the short film."""

    clip: str
    t0_s: float | None = None
    modality: str
    map: str
    shape: tuple[int, ...] = ()
    range: tuple[float, float] | None = None
    silent: bool = False
    raw: str | None = None
    png: str | None = None
    mp4: str | None = None
    scores: dict[str, Any] = {}
    _connection: "Connection" = PrivateAttr()
    _png: builtins.bytes | None = PrivateAttr(None)

    def picture(self) -> builtins.bytes | None:
        """The overlay as PNG, fetched once; None when there is none. Raises BadDownload."""
        if self._png is None and self.png is not None:
            self._png = fetch(self._connection, self.png)
        return self._png

    def _repr_png_(self) -> builtins.bytes | None:
        return self.picture()

    def array(self) -> "numpy.ndarray[Any, Any]":
        """The map's float32 values. Needs numpy. Raises BadDownload, ValueError when there are none."""
        import numpy  # the client alone does not need it

        if self.raw is None:
            raise ValueError(f"the service holds no raw values of {self.clip}")
        with numpy.load(io.BytesIO(fetch(self._connection, self.raw)), allow_pickle=False) as file:
            name = next((n for n in (f"{self.modality}_{self.map}", self.map, "map") if n in file.files), None)
            array: numpy.ndarray[Any, Any] = file[name or file.files[0]]
        return array

    def save(self, folder: Path | str, kinds: Iterable[str] = ("png", "mp4", "raw")) -> list[Path]:
        """Write the files that there are into `folder`, with names that say what they show."""
        stem = re.sub(r"[^\w.-]+", "_", f"{self.clip}.{self.modality}.{self.map}")
        endings = {"png": "png", "mp4": "mp4", "raw": "npz"}
        urls = [(getattr(self, kind), endings[kind]) for kind in kinds]
        return [download(self._connection, url, None, Path(folder) / f"{stem}.{end}") for url, end in urls if url]


class Result(Answer):
    """GET /results/{id}: `final` says whether more will come."""

    id: str
    kind: str
    state: str
    final: bool
    values: tuple[Value, ...] = ()
    protocol: dict[str, Any] = Field(default_factory=dict)
    lineage: Lineage = Lineage()
    artifacts: tuple[Artifact, ...] = ()
    error: dict[str, Any] | None = None
    warnings: tuple[Any, ...] = ()  # of a job {code, message}, of an experiment texts

    @property
    def warning_texts(self) -> list[str]:
        """What was warned of, in words."""
        return [str(one["message"]) if isinstance(one, Mapping) else str(one) for one in self.warnings]

    def frame(self) -> "pandas.DataFrame":
        """One line a value, with its labels. Needs pandas."""
        return frames.frame((value.model_dump() for value in self.values), list(Value.model_fields))

    def _repr_html_(self) -> str:
        rows = [(value.name, " ".join(value.labels.values()), *map(_told, value.numbers)) for value in self.values]
        header = ("value", "of", "ours", "random init", "chance", "paper", "n")
        return table_html(f"{self.kind} {self.id[:8]}: {self.state}", header, rows, self.warning_texts)

    def __getitem__(self, name: str) -> Value:
        """The first value of that name (the first pool, the whole set). KeyError names what there is."""
        return self.pick(name)

    def pick(self, name: str, **labels: str) -> Value:
        """The first value of that name with these labels: `pick("r@1", pool="gap")`."""
        for value in self.values:
            if value.name == name and labels.items() <= value.labels.items():
                return value
        raise KeyError(f"no value {name} {labels or ''}; there are {', '.join(sorted({v.name for v in self.values}))}")


def _told(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def read_result(connection: "Connection", body: Mapping[str, Any], kind: type[R]) -> R:
    """A result whose artifacts can be fetched."""
    result = kind.model_validate(body)
    for artifact in result.artifacts:
        artifact._connection = connection
    return result


def read_map(connection: "Connection", body: Mapping[str, Any]) -> AttentionMap:
    """A map whose files can be fetched."""
    found = AttentionMap.model_validate(body)
    found._connection = connection
    return found
