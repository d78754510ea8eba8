"""The certificate desk: authorities, issuing, revoking. Never loaded by a worker process."""
