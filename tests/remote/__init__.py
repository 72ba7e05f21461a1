"""Tests of edgerec.remote."""
