"""Disks that are files below an allowed directory."""
