"""What the master knows of the running gateway: the workers' reports, what it warns of, and the state it tells."""
