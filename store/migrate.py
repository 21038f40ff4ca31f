"""`python -m store.migrate`: bring the database to the newest schema. `--check`: are migrations and tables in step?"""

from sqlalchemy import Engine


def upgrade(engine: Engine, to: str = "head") -> list[str]:
    """Apply what is missing, under a lock; the revisions that were applied."""
    raise NotImplementedError


def downgrade(engine: Engine, to: str = "base") -> None:
    raise NotImplementedError


def drift(engine: Engine) -> list[str]:
    """Differences between the database and the tables, in words; empty when in step."""
    raise NotImplementedError


def is_current(engine: Engine) -> bool:
    """Whether the database is at the newest revision (for /readyz)."""
    raise NotImplementedError
