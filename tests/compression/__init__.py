"""Tests of edgerec.compression."""
