"""The checks of `downloader doctor`, each with its remedy."""

from downloader.diagnosis.checks import examine
from downloader.diagnosis.findings import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "examine"]
