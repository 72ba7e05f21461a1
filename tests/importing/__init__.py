"""Tests of edgerec.importing."""
