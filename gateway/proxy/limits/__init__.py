"""Limits on one client: its connections, handshakes, requests and failed logins."""
