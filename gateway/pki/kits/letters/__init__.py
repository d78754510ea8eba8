"""The letter that comes with a kit, in each language that it can be in."""
