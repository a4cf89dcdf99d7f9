"""Read an index: its project list and its project pages, in JSON and in HTML.

Bytes go in; types of `pypimirror.domain.model` come out, or a `ReadError`. No network, no catalog.
"""
