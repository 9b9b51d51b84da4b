"""What the service needs besides the audit itself: settings, the store, secrets, tokens, logs, jobs.

Nothing here speaks HTTP to users (that is api/), and nothing outside this package imports SQLAlchemy, Alembic, docket or Redis.
"""
