"""Training with message passing on the full graph, in torch."""
