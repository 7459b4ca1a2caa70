"""The sections of a job file."""
