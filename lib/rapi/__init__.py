"""The REST API, over LUXI."""
