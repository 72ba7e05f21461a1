"""Measurements quoted in README and docs; each module is a command."""
