"""What the gateway does for the certificate registry by itself: lists, warnings, mails; in a process of its own."""
