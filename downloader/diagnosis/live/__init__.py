"""Questions to the live service that public documentation leaves open."""
