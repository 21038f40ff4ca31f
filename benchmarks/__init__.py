"""Measurements against plain references, as ratios within one run; of the full service, against limits."""
