"""Logical volumes: disk template plain, and what mirrors are made of."""
