"""Messages may have the role of a rival, which versions before would take for the persona's."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """No table changes; the number keeps versions before from reading such a file."""
