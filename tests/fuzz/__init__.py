"""A fuzzer of edgerec's files: ``python -m tests.fuzz --mutations 100000``."""
