"""Tests of edgerec."""
