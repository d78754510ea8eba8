"""The access log, with one record for every exchange, and the error log."""
