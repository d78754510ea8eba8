"""The programs beside the workers: each has a role in the master and a process, and all are started in one way."""
