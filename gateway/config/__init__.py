"""Reads the YAML file with positions, checks it, and turns it into frozen dataclasses."""
