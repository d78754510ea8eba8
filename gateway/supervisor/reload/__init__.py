"""Reads the configuration and its files into a snapshot, at the start and whenever one of them has changed."""
