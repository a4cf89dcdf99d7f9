"""Download: fetch wanted files to staging."""
