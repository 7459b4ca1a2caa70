"""Images of the built-in catalogue."""
