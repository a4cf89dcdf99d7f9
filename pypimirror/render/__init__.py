"""Render pages: from verified files to the bytes that a web server serves. No I/O."""
