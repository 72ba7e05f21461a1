"""Tests of edgerec.contracts."""
