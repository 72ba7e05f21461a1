"""Tests of edgerec.exporting."""
