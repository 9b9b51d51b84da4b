"""`python -m api` is the console script, for a clone whose package is not installed."""

from api.cli import main

main()
