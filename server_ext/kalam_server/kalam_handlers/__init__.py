"""Handlers of KalamDB's HTTP API."""
