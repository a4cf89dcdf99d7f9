"""Direct answers: the web server's short way for plain requests for pages and files of a directory.

`heads` understands a request, `ready` keeps heads of answers, `direct` finds the answer, `sending`
sends it. What is not plain in any respect gets no direct answer: it goes the long way, through
pywsgi and the WSGI app, which gives the same answers.
"""
