"""The egress benches run the service on the databases and the queue that its own tests use."""

from __future__ import annotations

from tests.service.conftest import migrated_postgres, migrated_sqlite, migrated_url, postgres_server, redis_server, redis_url

__all__ = ["migrated_postgres", "migrated_sqlite", "migrated_url", "postgres_server", "redis_server", "redis_url"]
