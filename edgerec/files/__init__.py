"""The lowest layer: atomic writes, and the container that every edgerec file is."""
