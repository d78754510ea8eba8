"""Serves connections: from the accepted socket to the upstream and back."""
