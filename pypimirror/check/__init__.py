"""Whether an installer that knows nothing but this mirror can install something.

Looks at the mirror root alone, as an installer does, and for locks also into the catalog. Asks no
upstream, changes nothing, and runs no code of a package unless it is told to.
"""
