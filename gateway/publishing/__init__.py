"""Publishes revocation lists, CA certificates and OCSP answers of the registry, in a process of its own."""
