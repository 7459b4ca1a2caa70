"""From a job's source to its images: asks the catalogue, never for pixels."""
