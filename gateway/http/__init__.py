"""HTTP as bytes in, events out and back. Knows no socket and no event loop."""
