"""The transport: connections, TLS, proxies, redirects and bodies of HTTP, and local files."""
