"""Conversations, their messages, tool calls and safety verdicts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the four tables."""
    op.create_table(
        "conversation",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("goals", sa.JSON, nullable=False),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column(
            "conversation_id", sa.String(24), sa.ForeignKey("conversation.id"), nullable=False
        ),
        sa.Column("parent_id", sa.String(24), sa.ForeignKey("message.id")),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("stopped", sa.Boolean, nullable=False),
        sa.Column("goals", sa.JSON),
        sa.Column("seed", sa.BigInteger),
        sa.Column("stray", sa.JSON),
    )
    op.create_index("message_by_conversation", "message", ["conversation_id"])
    op.create_table(
        "tool_call",
        sa.Column("message_id", sa.String(24), sa.ForeignKey("message.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.Text),
        sa.Column("seed", sa.BigInteger),
    )
    op.create_table(
        "verdict",
        sa.Column("message_id", sa.String(24), sa.ForeignKey("message.id"), primary_key=True),
        sa.Column("safe", sa.Float, nullable=False),
        sa.Column("refusal", sa.Float, nullable=False),
        sa.Column("prompt_harmful", sa.Float, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
    )
