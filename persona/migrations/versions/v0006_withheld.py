"""Of a reply that was blocked its P(safe) is kept beside that of the reply in its place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add `verdict.withheld`, unknown of earlier replies."""
    op.add_column("verdict", sa.Column("withheld", sa.Float))
