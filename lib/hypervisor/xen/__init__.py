"""Xen, paravirtual and fully virtual guests, by its toolstack xl."""
