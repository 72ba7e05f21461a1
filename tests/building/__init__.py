"""Tests of edgerec.building."""
