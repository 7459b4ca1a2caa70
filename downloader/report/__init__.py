"""Results for people: as text, JSON and HTML."""
