"""One file per kind of job: from a spec to events and artifacts."""
