"""Burn-in: test instances that are put through everything an instance can meet. Speaks LUXI only."""
