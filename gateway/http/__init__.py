"""HTTP: parses and writes messages as bytes, without sockets and event loop; refusal pages."""
