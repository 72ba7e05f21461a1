"""The device side: the Scorer, the bench, and what both need to know about the machine."""
