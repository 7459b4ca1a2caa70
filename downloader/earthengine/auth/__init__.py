"""Credentials and access tokens."""
