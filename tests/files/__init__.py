"""Tests of edgerec.files."""
