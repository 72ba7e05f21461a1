"""edgerec: compress a trained GNN recommender to a device's budget, and run it there."""
