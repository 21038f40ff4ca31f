"""Measurements against plain references: ratios within one run, never absolute times alone."""
