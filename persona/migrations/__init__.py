"""Alembic's scripts for the conversation file; `persona.history` runs them when it is behind."""
