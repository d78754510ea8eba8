"""TLS towards clients (contexts, the record layer, judging certificates) and towards servers (contexts)."""
