"""The goals in force stand in each question's row; a conversation's own were never read."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Drop `conversation.goals`."""
    with op.batch_alter_table("conversation") as table:
        table.drop_column("goals")
