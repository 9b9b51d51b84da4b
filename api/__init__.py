"""How it is served: the console script, and later the REST service."""
