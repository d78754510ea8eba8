"""The answer of `gateway logs --why`: who was refused, since when, what changed, what the registry says, what helps."""
