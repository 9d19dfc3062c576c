"""Recipes: what is to be done to a model, as data. The same in Python and in YAML."""
