"""Pages for people: front page, projects, search, status, feeds.

The web server does not make them itself. It asks a child process (`program`), which reads the
catalog. So a slow query or a large description never holds up an answer of the simple API.
"""
