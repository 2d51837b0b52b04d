"""Handlers of ksqlDB's HTTP API."""
