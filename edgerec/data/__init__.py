"""Interactions: the Dataset, its splits and files, and the readers that build one."""
