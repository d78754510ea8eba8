"""Device kits: what a person needs to get a certificate into a phone, a browser or a mail program."""
