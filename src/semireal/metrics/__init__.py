"""Distances, intervals and copies: from features to numbers. Nothing here knows of experiments."""
