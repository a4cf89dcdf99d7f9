"""More processes of the web server: they give direct answers on the same port as the first one.

A connection whose request has no direct answer goes to the first process, which has everything that
exists once: pages for people, the fetcher, metrics. `children` starts and watches the others,
`program` is what they run, `channel` is between them, `keeping` starts again what has ended.
"""
