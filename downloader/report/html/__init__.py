"""Pages and pictures that people read: the report of a run, the map of a plan. Each is one file that needs no other."""

from downloader.report.html.page import report_page

__all__ = ["report_page"]
