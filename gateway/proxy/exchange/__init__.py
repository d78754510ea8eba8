"""One request: judged, forwarded to an upstream, and its answer brought back."""
