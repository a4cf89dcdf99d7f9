"""Direct answers: the web server's short way for plain requests for pages and files of a directory.

`heads` reads a request, `ready` keeps ready answers, `direct` finds the answer, `sending` sends it.
A request that is not plain in every respect goes the long way, through pywsgi and the WSGI app,
which give the same answers.
"""
