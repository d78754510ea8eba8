"""OCSP for client certificates: asking responders, and the statuses that connections share."""
