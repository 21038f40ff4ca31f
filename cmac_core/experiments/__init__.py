"""From an experiment's spec to its jobs: pure functions over specs, without torch."""
