"""The kind of an audit's failure, which the metrics count.

Revision 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what failed earlier has no kind."""
    op.add_column("audits", sa.Column("failure", sa.String(length=32), nullable=True))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("audits", "failure")
