"""The download engine: a parent's handle, child processes on gevent, the HTTP transport."""
