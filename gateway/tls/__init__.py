"""TLS: contexts, the record layer and the judging of certificates towards clients; contexts towards servers."""
