"""The fetcher: a child of the web server that fetches what clients ask for, and keeps it."""
