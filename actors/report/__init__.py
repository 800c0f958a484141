"""The report of a run: one HTML file that opens anywhere, offline, and the same as JSON.

What lives here: `run` (the data), `charts` (SVG out of numbers), `page` (data and charts into the
page). What may not: counting or measuring anything; whoever runs something fills a `RunReport`.
Begin with `run`.
"""

from actors.report.page import render, write_report
from actors.report.run import RunReport

__all__ = ("RunReport", "render", "write_report")
