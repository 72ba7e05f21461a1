"""Tests of edgerec.device."""
