"""A reply keeps who wrote it, by its words, and how its drafts were weighed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add `message.authorship`, empty for what is stored already."""
    with op.batch_alter_table("message") as table:
        table.add_column(sa.Column("authorship", sa.JSON()))
