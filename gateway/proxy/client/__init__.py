"""A client's connection: TLS, reading requests, pausing, and the ways in which it ends."""
