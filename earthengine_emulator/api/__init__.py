"""The REST interface as values: routes, bodies, errors, replies, limits, switches."""
