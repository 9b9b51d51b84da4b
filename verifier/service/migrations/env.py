"""What Alembic runs: the migrations, on the connection (and inside the transaction) that `verifier.service.migrations` opened."""

from __future__ import annotations

from alembic import context

from verifier.service.store.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
