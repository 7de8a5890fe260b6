"""The JSON codec of every wire format."""
