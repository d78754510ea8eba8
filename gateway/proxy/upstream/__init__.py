"""Connections to upstream servers: names, addresses, health, TLS, and the pool that hands them out."""
