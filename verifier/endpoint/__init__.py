"""The endpoint client: the only part of Truename that opens sockets to a target."""
