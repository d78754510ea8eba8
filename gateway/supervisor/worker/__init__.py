"""A process that serves clients: its loop, its connections, and how it takes up what the master sends."""
