"""Listeners to the events of a run: a tally, displays, a file for other processes, a recorder for the report."""
