"""Tests of edgerec.data."""
