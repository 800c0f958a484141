"""The preflight's report as a page: one HTML file that loads nothing."""
