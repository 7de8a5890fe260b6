"""Xen, paravirtual guests."""
