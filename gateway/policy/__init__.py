"""Networks, hosts, paths, rules, and the engine that decides about each request. Pure: no I/O, no clock."""
