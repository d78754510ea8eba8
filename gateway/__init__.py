"""gateway: a mutual-TLS access gateway in front of webmail and Exchange ActiveSync."""

__version__ = "0.1.0"
