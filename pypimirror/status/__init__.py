"""What the mirror is like and how its runs went: for pages, `/status.json` and charts.

It reads the catalog and changes nothing. It never counts the rows of `files`.
"""
