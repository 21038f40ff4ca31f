"""What a POST of a spec does: a job for a job's spec, many for an experiment's."""

from typing import Any

from sqlalchemy.orm import Session

from api.etags import job_etag
from api.views.experiments import ExperimentView
from api.views.jobs import JobView
from cmac_core.specs import JobSpec
from cmac_core.specs.experiment import Experiment
from store import dry_runs, experiments, jobs
from store.idempotency import Answer
from store.keys import Principal


def submitted(
    session: Session, spec: JobSpec | Experiment, principal: Principal, sent: dict[str, Any] | None = None
) -> Answer:
    """202 with where it is; a job's spec is kept as it was `sent`, too. Raises what the store's `submit` raises."""
    if isinstance(spec, Experiment):
        experiment = experiments.submit(session, spec, principal)
        location = f"/experiments/{experiment.id}"
        return Answer(202, {"Location": location}, ExperimentView.whole(session, experiment).model_dump(mode="json"))
    job = jobs.submit(session, spec, principal, sent)
    headers = {"Location": f"/jobs/{job.id}", "ETag": job_etag(job)}
    return Answer(202, headers, JobView.whole(session, job).model_dump(mode="json"))


def estimated(session: Session, spec: JobSpec | Experiment, principal: Principal) -> dict[str, Any]:
    """The dry run of either. Raises what the store's `estimate` raises."""
    if isinstance(spec, Experiment):
        return dry_runs.estimate(session, spec, principal)
    return jobs.estimate(session, spec, principal)
