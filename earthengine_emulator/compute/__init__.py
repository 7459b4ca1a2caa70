"""Evaluation of expression graphs."""
