"""Limits of a worker: connections, handshakes, requests, failed logins, and bodies kept for a retry."""
