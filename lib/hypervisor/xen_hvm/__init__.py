"""Xen, fully virtual guests."""
