"""Carries node calls: client, server, mutual TLS, request ids."""
