"""Processes, files, clock, network, TLS files: the only room with effects."""
