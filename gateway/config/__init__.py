"""The YAML file: read with positions, checked, and turned into frozen dataclasses."""
