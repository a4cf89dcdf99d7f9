"""Download: fetches wanted files to staging."""
