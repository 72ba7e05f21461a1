"""Tests of edgerec.training."""
