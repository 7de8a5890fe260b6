"""The whole control plane on virtual time with seeded faults (doc/design/simulation.rst)."""
