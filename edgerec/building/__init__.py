"""Recipes, builds, measured quality, and the search for the best chain in a budget."""
