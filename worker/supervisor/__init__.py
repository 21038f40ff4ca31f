"""Stays with one attempt from its first process to its last, and tells the database how it goes."""
