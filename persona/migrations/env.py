"""Alembic's environment: runs on the connection that `persona.history` hands over."""

from __future__ import annotations

from alembic import context

from persona.tables import metadata

# SQLite cannot alter most of a table, so Alembic copies it over in a batch.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
