"""Fetches revocation lists from URLs, in a process of its own, and stores them for the master."""
