"""The master's child processes: how they are started, talked to, watched and ended."""
