"""Lower a model to a target's runtime, and prove that the result computes the same."""
