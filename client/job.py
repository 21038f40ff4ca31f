"""A job seen from outside: where it is, what it says, what it left."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from client import frames, pages
from client.connection import Connection
from client.errors import BadInput, JobCancelled, JobFailed, WaitTimeout
from client.notebook import facts_html
from client.results import Artifact, AttentionMap, Result, read_map, read_result
from client.standing import standing
from client.streams import StreamEvent, follow
from cmac_core.specs import JobCheckpoint

if TYPE_CHECKING:
    import pandas

FINAL = ("succeeded", "failed", "cancelled")


class Job:
    """One job of the service. `row` is what GET /jobs/{id} last said; `refresh()` asks again."""

    home: ClassVar[str] = "/jobs"

    def __init__(self, connection: Connection, row: dict[str, Any], etag: str | None = None) -> None:
        self._connection = connection
        self._etag = etag
        self.row = row

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.kind} {self.state}>"

    @property
    def id(self) -> str:
        """The job's uuid."""
        return str(self.row["id"])

    @property
    def kind(self) -> str:
        """pack, pretrain, finetune, retrieval, probe or attention."""
        return str(self.row["kind"])

    @property
    def name(self) -> str:
        """The name its author gave it; may be empty."""
        return str(self.row.get("name") or "")

    @property
    def state(self) -> str:
        """The state as last seen."""
        return str(self.row["state"])

    @property
    def final(self) -> bool:
        """Whether the state can change no more."""
        return self.state in FINAL

    @property
    def connection(self) -> Connection:
        """To the service that has it."""
        return self._connection

    def spec(self) -> dict[str, Any]:
        """What it was asked to do, every field written out; lists leave it out, so it may have to be fetched."""
        if "spec" not in self.row:
            self.row = self._connection.get(f"{self.home}/{self.id}").json()
        return dict(self.row["spec"])

    @property
    def checkpoint(self) -> JobCheckpoint:
        """What evaluations put into their spec: `Retrieval(checkpoint=job.checkpoint, ...)` waits for this job."""
        return JobCheckpoint(job=UUID(self.id))

    def refresh(self) -> Self:
        """Ask the service; an unchanged job costs an empty answer. Returns itself."""
        headers = {"If-None-Match": self._etag} if self._etag else None
        answer = self._connection.get(f"{self.home}/{self.id}", headers=headers)
        if answer.status_code != 304:
            self.row = answer.json()
            self._etag = answer.headers.get("ETag")
        return self

    def events(self, after: str = "") -> Iterator[StreamEvent]:
        """What happens to the job, live, until its end; taken up by itself when the connection breaks."""
        return follow(self._connection, f"/jobs/{self.id}/events/stream", last_id=after)

    def history(self) -> Iterator[dict[str, Any]]:
        """What happened so far."""
        return pages.items(self._connection, f"/jobs/{self.id}/events")

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> Result:
        """Its result, once it is final. Raises JobFailed, JobCancelled, WaitTimeout (the job goes on).

        `progress` shows how it gets on: bars on a terminal and in a notebook, lines elsewhere.
        """
        if progress:
            from client.progress import watch  # which knows jobs

            watch([self], timeout=timeout)
            return self.checked_result()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.refresh().final:
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            if left <= 0:
                raise WaitTimeout(f"job {self.id} is still {self.state} after {timeout:g} s; it goes on")
            time.sleep(left)
        return self.checked_result()

    def result(self) -> Result:
        """The answer as it is now, partial while the job is not final."""
        return read_result(self._connection, self._connection.get(f"/results/{self.id}").json(), Result)

    def checked_result(self) -> Result:
        """The result of a job that is final. Raises JobFailed, JobCancelled."""
        result = self.result()
        error = result.error or {}
        texts = {name: str(error.get(name) or "") for name in ("detail", "hint", "log_tail")}
        if result.state == "failed":
            raise JobFailed(self.id, str(error.get("reason") or self.row.get("reason") or "unknown"), **texts)
        if result.state == "cancelled":
            row = self.row
            raise JobCancelled(self.id, str(row.get("reason") or ""), str(row.get("detail") or ""))
        return result

    def attention(
        self, clip: str | None = None, modality: str | None = None, map: str | None = None, limit: int | None = None
    ) -> list[AttentionMap]:
        """The attention maps that fit: `job.attention(clip, map="s")[0].array()`."""
        filters = {"clip": clip, "modality": modality, "map": map}
        rows = pages.items(self._connection, f"/results/{self.id}/attention", limit, **filters)
        return [read_map(self._connection, row) for row in rows]

    def checkpoints(self) -> Iterator[dict[str, Any]]:
        """States that it saved, newest first, also those that were deleted since (`state`)."""
        return pages.items(self._connection, f"/jobs/{self.id}/checkpoints")

    def artifacts(self) -> list[Artifact]:
        """The files it left."""
        found = [Artifact.model_validate(row) for row in pages.items(self._connection, f"/jobs/{self.id}/artifacts")]
        for artifact in found:
            artifact._connection = self._connection
        return found

    def attempts(self) -> list[dict[str, Any]]:
        """Every try, oldest first: machines, devices, times, reason, exit code."""
        rows: list[dict[str, Any]] = self._connection.get(f"/jobs/{self.id}/attempts").json()["items"]
        return rows

    def artifact(self, name: str) -> Artifact:
        """The file of that name. Raises BadInput, which tells the names that there are."""
        found = {artifact.name: artifact for artifact in self.artifacts()}
        if name not in found:
            raise BadInput(f"job {self.id[:8]} left no file {name!r}; there are: {', '.join(found) or 'none'}")
        return found[name]

    def live_metrics(self, names: list[str] | None = None) -> Iterator[StreamEvent]:
        """Points of its curves as they come in, from the first on until its end."""
        return follow(self._connection, f"/jobs/{self.id}/metrics/stream", {"names": names})

    def points_csv(self, names: list[str] | None = None) -> str:
        """Every point of its curves as CSV: name, step, train_epoch, value, epoch, at."""
        wanted = {"names": names, "points": 0, "format": "csv"}
        return self._connection.get(f"/jobs/{self.id}/metrics", wanted).text

    def metrics(self, names: list[str] | None = None, **options: Any) -> dict[str, Any]:
        """Its curves, thinned by the service."""
        body: dict[str, Any] = self._connection.get(f"/jobs/{self.id}/metrics", {"names": names, **options}).json()
        return body

    def curves(self, names: list[str] | None = None, *, x: str = "step", points: int = 500) -> "pandas.DataFrame":
        """Its curves, thinned, as a frame: name, `x` (step, time or train_epoch), value, low, high. Needs pandas."""
        return frames.points(self.metrics(names, points=points, x=x)["series"], x)

    def _repr_html_(self) -> str:
        names = ("id", "kind", "state", "owner", "submitted_at", "started_at", "ended_at")
        pairs = [(name, self.row.get(name)) for name in names]
        return facts_html(self.name or f"{self.kind} {self.id[:8]}", [*pairs, ("standing", standing(self.row))])

    def cancel(self, *, force: bool = False) -> Self:
        """Ask it to save and stop; `force` skips the save. Raises IllegalMove when it is final."""
        return self._ask("cancel", force=force or None)

    def delete(self) -> None:
        """Delete it, once it is over, with all that it left. Raises IllegalMove, InUse, Gone."""
        self._connection.delete(f"{self.home}/{self.id}")

    def pause(self) -> Self:
        """Ask one that runs to save and give its devices back. Raises IllegalMove."""
        return self._ask("pause")

    def resume(self) -> Self:
        """Let one that is paused go on when its turn comes. Raises IllegalMove."""
        return self._ask("resume")

    def hold(self) -> Self:
        """Keep one that waits from starting. Raises IllegalMove."""
        return self._ask("hold")

    def release(self) -> Self:
        """Let one that is held wait for its turn. Raises IllegalMove."""
        return self._ask("release")

    def change(self, **fields: Any) -> Self:
        """Change name, labels, priority, walltime_s or max_restarts. Raises IllegalMove, PreconditionFailed."""
        answer = self._connection.patch(f"{self.home}/{self.id}", fields, if_match=self._etag or "*")
        self.row, self._etag = answer.json(), answer.headers.get("ETag")
        return self

    def _ask(self, verb: str, **params: Any) -> Self:
        answer = self._connection.post(f"{self.home}/{self.id}/{verb}", params=params)
        self.row, self._etag = answer.json(), answer.headers.get("ETag")
        return self

    def retry(self, *, rows: Sequence[str] = (), fresh: bool = False, walltime_s: float | None = None) -> "Job":
        """A new job of the same spec, from the last checkpoint unless `fresh`, with more time where that is given.

        Raises IllegalMove, BadInput.
        """
        if rows:
            raise BadInput(f"{self.id} is a {self.kind}; only an experiment has rows")
        answer = self._connection.post(f"/jobs/{self.id}/retry", {"fresh": fresh, "walltime_s": walltime_s})
        return Job(self._connection, answer.json(), answer.headers.get("ETag"))
