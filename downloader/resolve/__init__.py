"""Resolve a job's source to its images: ask the catalogue, never for pixels."""
