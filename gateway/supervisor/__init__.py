"""The master process, its workers, and the one snapshot they serve from."""
