"""Assets and collections: documents, listings, filters."""
