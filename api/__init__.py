"""How it is served: the console script and the REST service."""
