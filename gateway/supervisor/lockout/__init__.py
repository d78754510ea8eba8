"""Clients that are locked out after too many failed logins: the master's table, and how workers learn of it."""
