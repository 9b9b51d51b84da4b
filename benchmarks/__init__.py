"""Benchmarks: `python -m benchmarks NAME [--data DIR] [--json] [--seed N] [--limit N] [--write]`. Not installed."""
