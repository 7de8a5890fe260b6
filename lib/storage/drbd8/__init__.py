"""Mirrors of two nodes: DRBD 8.4 over logical volumes."""
