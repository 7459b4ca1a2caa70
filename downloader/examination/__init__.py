"""Is everything as a run needs it? The checks of `downloader doctor`, each with its remedy."""

from downloader.examination.examining import examine
from downloader.examination.findings import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "examine"]
