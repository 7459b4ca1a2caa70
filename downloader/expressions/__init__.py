"""Graphs that the service computes: masks, formulas, scales, reducers, stacks. Each is a function from graph to graph."""
