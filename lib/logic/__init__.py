"""One logical unit per operation. Sees only ports."""
