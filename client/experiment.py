"""An experiment seen from outside: a table of many jobs, and what may be done to all of them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from client import frames
from client.errors import JobCancelled, JobFailed
from client.job import Job
from client.notebook import facts_html, table_html
from client.results import Result, read_result
from cmac_core.experiments.text_tables import text_tables

if TYPE_CHECKING:
    import pandas

EXPERIMENT = "experiment"


class ExperimentResult(Result):
    """GET /results/{id} of an experiment: its tables as far as they are filled."""

    counts: dict[str, int] = Field(default_factory=dict)
    tables: tuple[dict[str, Any], ...] = ()

    def frame(self) -> "pandas.DataFrame":
        """One record a number: ours with its spread, the paper's, and those of others. Needs pandas."""
        return frames.cells(self.model_dump())

    def _repr_html_(self) -> str:
        shown = text_tables(self.model_dump())
        return "".join(table_html(one.title, one.header, one.rows, one.notes) for one in shown)


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

    def frame(self) -> "pandas.DataFrame":
        """Its tables as they are now, one record a number. Needs pandas."""
        return self.result().frame()

    def _repr_html_(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        head = facts_html(self.name or f"experiment {self.id[:8]}", [("id", self.id), ("jobs", counts)])
        return head + self.result()._repr_html_()

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
