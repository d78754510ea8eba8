"""The registry: every certificate the desk made, who made it and when, in SQLite or PostgreSQL."""
