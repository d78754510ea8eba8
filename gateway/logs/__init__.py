"""The access log: one record for every exchange, written off the request's path."""
