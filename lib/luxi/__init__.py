"""The local protocol between clients and the master: framing, client, server."""
