"""Mutation testing: small faults that the suite has to notice, ``python -m tests.mutants``."""
