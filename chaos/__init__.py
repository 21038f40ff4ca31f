"""Randomized faults against a living service, and the queue's invariants checked over its history."""
