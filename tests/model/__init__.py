"""Tests of edgerec.model."""
