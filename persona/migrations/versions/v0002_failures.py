"""What was written of a reply before its turn failed is kept beside the failure."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add `message.failure`; a failed reply's text was its failure."""
    op.add_column("message", sa.Column("failure", sa.Text))
    op.execute("UPDATE message SET failure = text, text = '' WHERE role = 'failure'")
