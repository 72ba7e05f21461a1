"""The search: which chains to try, what they keep, and which one is built."""
