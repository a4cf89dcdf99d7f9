"""The download engine: the parent's side, child processes on gevent, and the HTTP transport."""
