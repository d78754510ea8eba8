"""Listeners for plain HTTP: redirects, ACME challenges and what the publisher publishes."""
