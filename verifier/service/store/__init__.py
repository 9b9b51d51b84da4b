"""The database: what was asked for, what runs, what came out. It is the truth; the queue only delivers.

`engine.Store` gives transactions; one module per aggregate holds functions that take such a transaction and plain data, and give
the frozen dataclasses of `rows`. No SQLAlchemy object leaves this package.
"""
