"""Checks whether an installer that knows only this mirror can install something.

It reads only the served files, as an installer does, and for locks also the catalog. It asks no
upstream, changes nothing, and runs no code of a package unless it is allowed to.
"""
