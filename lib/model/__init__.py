"""Pure cluster data."""
