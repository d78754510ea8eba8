"""Who may come in: networks, URIs, rules and the engine that decides. Pure, no I/O, no clock."""
