"""More processes of the web server: they give direct answers on the same port as the first one.

If a request has no direct answer, its connection goes to the first process, which has everything
that exists only once: pages for people, the fetcher, metrics. `children` starts and watches the
others, `program` is their program, `channel` connects both, `keeping` restarts an ended process.
"""
