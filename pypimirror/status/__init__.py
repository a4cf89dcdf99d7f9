"""The state of the mirror and the results of its runs, for pages, `/status.json` and charts.

It reads the catalog and changes nothing. It never counts the rows of `files`.
"""
