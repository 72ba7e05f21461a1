"""Tests of edgerec.cli."""
