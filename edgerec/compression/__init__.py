"""Chains of compressors, and the fine-tuning that compressors share."""
