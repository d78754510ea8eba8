"""`gateway explain --log`: logged requests, judged by the rules of a configuration."""
