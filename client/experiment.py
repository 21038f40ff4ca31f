"""An experiment seen from outside: a table of many jobs, and what may be done to all of them."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from client.errors import JobCancelled, JobFailed
from client.job import Job
from client.results import Result, read_result

EXPERIMENT = "experiment"


class ExperimentResult(Result):
    """GET /results/{id} of an experiment: its tables as far as they are filled."""

    counts: dict[str, int] = Field(default_factory=dict)
    tables: tuple[dict[str, Any], ...] = ()


class Experiment(Job):
    """Many jobs that fill a table. `row` is what GET /experiments/{id} last said.

    What belongs to one run alone (events, curves, files, its checkpoint) is asked of its jobs: `members`.
    """

    home = "/experiments"

    @property
    def counts(self) -> dict[str, int]:
        """State -> jobs, as last seen."""
        return dict(self.row["counts"])

    @property
    def members(self) -> list[dict[str, Any]]:
        """Its jobs in few words, parents first, as last seen; each with the cells that it fills."""
        if "members" not in self.row:
            self.refresh()
        return list(self.row["members"])

    def jobs(self) -> Iterator[Job]:
        """Its jobs."""
        for member in self.members:
            yield Job(self._connection, self._connection.get(f"/jobs/{member['id']}").json())

    def table(self, form: str = "json") -> Any:
        """Its tables: plain objects, or the text of `csv`, `markdown`, `latex` or `svg`."""
        answer = self._connection.get(f"{self.home}/{self.id}/table", {"format": form})
        return answer.json()["tables"] if form == "json" else answer.text

    def result(self) -> ExperimentResult:
        """The answer as it is now, `pending` where a job has not ended."""
        return read_result(self._connection, self._connection.get(f"/results/{self.id}").json(), ExperimentResult)

    def checked_result(self) -> ExperimentResult:
        """The result of an experiment that is final. Raises JobFailed, JobCancelled."""
        result = self.result()
        if result.state == "failed":
            failed = [member for member in self.refresh().row["members"] if member["state"] == "failed"]
            detail = f"{len(failed)} of {self.row['jobs']} jobs failed, first {_told(failed[0])}"
            raise JobFailed(self.id, EXPERIMENT, detail=detail, hint=f"cmac retry {self.id[:8]} runs only those again")
        if result.state == "cancelled":
            raise JobCancelled(self.id)
        return result

    def retry(self, *, rows: Sequence[str] = (), fresh: bool = False, walltime_s: float | None = None) -> "Experiment":
        """Run again what failed or was cancelled, of these rows or of all; what succeeded stays."""
        body = {"rows": list(rows), "fresh": fresh, "walltime_s": walltime_s}
        answer = self._connection.post(f"{self.home}/{self.id}/retry", body)
        self.row, self._etag = answer.json(), None
        return self


def _told(member: dict[str, Any]) -> str:
    words = ": ".join(str(member[key]) for key in ("reason", "detail") if member.get(key))
    return f"{member['name']} ({words})" if words else str(member["name"])
