"""Jobs as runs of an MLflow server, by its REST interface."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from client.errors import BadInput, Gone, ServiceAway
from client.exports.runs import Run, plain_name
from client.places import inside

JOB_TAG = "cmac.job"  # by which a run is found again
_FILES_TAG = "cmac.files"
_MOST_POINTS = 1000  # that one call takes
_MOST_PARAMS = 100
_LONGEST_VALUE = 5000
_LONGEST_NAME = 250
_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "running": "RUNNING"}
_PROXY = "mlflow-artifacts:"


class Tracking:
    """An MLflow server. Raises ServiceAway when nobody answers, BadInput when it refuses, with its words."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        name, word = (os.environ.get(f"MLFLOW_TRACKING_{what}") for what in ("USERNAME", "PASSWORD"))
        self._http = httpx2.Client(
            base_url=f"{self.url}/api/2.0/",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=(name, word) if name and word else None,
            timeout=httpx2.Timeout(60.0, connect=10.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def export(self, run: Run, experiment: str, *, files: bool = True) -> str:
        """Make a run of a job, or bring the one that it has in this experiment up to date; the run's id."""
        run_id, known, tags = self._run(run, experiment)
        for some in _slices(list(run.settings.items()), _MOST_PARAMS):
            params = [{"key": plain_name(key)[:_LONGEST_NAME], "value": _text(value)} for key, value in some]
            self._call("POST", "mlflow/runs/log-batch", {"run_id": run_id, "params": params})
        fresh = [one for one in _metrics(run) if one["step"] > known.get(one["key"], -1)]
        for points in _slices(fresh, _MOST_POINTS):
            self._call("POST", "mlflow/runs/log-batch", {"run_id": run_id, "metrics": points})
        if files:
            self._upload(run, run_id, tags)
        told = [{"key": key, "value": _text(value)} for key, value in run.tags.items()]
        self._call("POST", "mlflow/runs/log-batch", {"run_id": run_id, "tags": told})
        status = {"status": _STATUS.get(run.job.state, "SCHEDULED")}
        ended = {"end_time": _moment(run.job.row["ended_at"])} if run.job.row.get("ended_at") else {}
        self._call("POST", "mlflow/runs/update", {"run_id": run_id, "run_name": run.title, **status, **ended})
        return run_id

    def page(self, experiment: str, run_id: str) -> str:
        """The run's page."""
        return f"{self.url}/#/experiments/{self._experiment(experiment)}/runs/{run_id}"

    def _experiment(self, name: str) -> str:
        """The id of an experiment, made when there is none."""
        answer = self._http_call("GET", "mlflow/experiments/get-by-name", params={"experiment_name": name})
        if answer.status_code == 200:
            return str(answer.json()["experiment"]["experiment_id"])
        return str(self._call("POST", "mlflow/experiments/create", {"name": name})["experiment_id"])

    def _run(self, run: Run, experiment: str) -> tuple[str, dict[str, int], dict[str, str]]:
        """The job's run, found by its tag or made: its id, the last step of each metric, its tags."""
        where = self._experiment(experiment)
        wanted = {"experiment_ids": [where], "filter": f"tags.`{JOB_TAG}` = '{run.job.id}'", "max_results": 1}
        found = self._call("POST", "mlflow/runs/search", wanted).get("runs") or []
        if not found:
            start = _moment(run.job.row.get("started_at") or run.job.row["submitted_at"])
            tags = [{"key": JOB_TAG, "value": run.job.id}]
            body = {"experiment_id": where, "run_name": run.title, "start_time": start, "tags": tags}
            found = [self._call("POST", "mlflow/runs/create", body)["run"]]
        data = found[0].get("data", {})
        known = {one["key"]: int(one.get("step", 0)) for one in data.get("metrics", [])}
        tags_there = {one["key"]: one["value"] for one in data.get("tags", [])}
        return str(found[0]["info"]["run_id"]), known, tags_there

    def _upload(self, run: Run, run_id: str, tags: dict[str, str]) -> None:
        """Put its files into the run through the server's proxy, unless they are there. Raises BadInput without one."""
        artifacts = run.job.artifacts()
        documents = {"spec.json": run.job.spec(), "result.json": run.result.model_dump(mode="json")}
        texts = {name: json.dumps(body, indent=2, default=str).encode() for name, body in documents.items()}
        hashes = "".join(sorted(one.sha256 for one in artifacts))
        mark = hashlib.sha256(hashes.encode() + texts["result.json"]).hexdigest()
        if tags.get(_FILES_TAG) == mark:
            return
        uri = str(self._call("GET", f"mlflow/runs/get?run_id={run_id}")["run"]["info"]["artifact_uri"])
        if not uri.startswith(_PROXY):
            raise BadInput(
                f"the MLflow server keeps files at {uri}, which only its own machine can write: "
                "start it with --serve-artifacts, or leave them out with --no-artifacts"
            )
        root = "mlflow-artifacts/artifacts" + httpx2.URL(uri).path.rstrip("/")
        for name, data in texts.items():
            self._http_call("PUT", f"{root}/{name}", content=data, check=True)
        with tempfile.TemporaryDirectory() as folder:
            for artifact in artifacts:
                try:
                    file = artifact.save(Path(folder) / artifact.sha256)
                except Gone:
                    continue  # removed by retention
                place = inside(Path("files"), artifact.name).as_posix()
                with file.open("rb") as content:
                    self._http_call("PUT", f"{root}/{place}", content=content, check=True)
                file.unlink()
        done = {"run_id": run_id, "tags": [{"key": _FILES_TAG, "value": mark}]}
        self._call("POST", "mlflow/runs/log-batch", done)

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._http_call(method, path, json=body, check=True).json()
        return answer

    def _http_call(self, method: str, path: str, *, check: bool = False, **request: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **request)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise ServiceAway(f"no MLflow server answers at {self.url}: {error}") from error
        if check and answer.status_code >= 400:
            raise BadInput(f"the MLflow server at {self.url} answered {answer.status_code}: {_words(answer)}")
        return answer


def _metrics(run: Run) -> Iterator[dict[str, Any]]:
    """Curves with their steps and times, then final values at the job's end."""
    for point in run.points:
        yield {
            "key": plain_name(point.name),
            "value": point.value,
            "timestamp": round(point.at * 1000),
            "step": point.step,
        }
    end = run.job.row.get("ended_at")
    for name, value in run.finals.items() if end else ():
        yield {"key": plain_name(name), "value": value, "timestamp": _moment(end), "step": 0}


def _slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _text(value: Any) -> str:
    return str(value)[:_LONGEST_VALUE]


def _moment(text: Any) -> int:
    """Milliseconds since 1970."""
    return round(datetime.fromisoformat(str(text)).timestamp() * 1000)


def _words(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
