"""The keeper: a separate process that renews revocation lists and sends warnings for the certificate registry."""
