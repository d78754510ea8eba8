"""Measures the gateway beside nginx, HAProxy, Caddy and a plain aiohttp proxy on the same machine, in the same run."""
