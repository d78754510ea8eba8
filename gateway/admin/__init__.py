"""The console, metrics and health, in a process of its own."""
