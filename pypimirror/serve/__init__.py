"""Serving a mirror root over HTTP: a WSGI app, and a server that runs it on gevent.

Nothing is imported here: the server has to patch the standard library first.
"""
