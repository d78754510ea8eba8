"""State, metrics and health, served by a separate process."""
