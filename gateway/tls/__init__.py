"""TLS towards clients: choosing a context, the record layer, and judging client certificates."""
