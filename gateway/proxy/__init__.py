"""From an accepted connection to the upstream and back."""
