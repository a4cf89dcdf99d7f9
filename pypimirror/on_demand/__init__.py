"""The fetcher: a child of the web server that fetches and keeps files that clients ask for."""
