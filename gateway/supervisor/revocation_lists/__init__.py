"""Which revocation lists count, and how they get from the master to the workers."""
