"""Run by Alembic, with the connection that `store.migrate` gives it."""

from alembic import context
from sqlalchemy import text

from store.tables import Table

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Table.metadata, compare_type=True, compare_server_default=True)
with context.begin_transaction():
    # A migration that cannot get its lock must fail, not queue up everybody behind it.
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    context.run_migrations()
