"""From verified files to what a web server serves: rendering pages, writing them atomically."""
