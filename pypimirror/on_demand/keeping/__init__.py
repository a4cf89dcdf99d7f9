"""The second half of the fetcher: it makes fetched files a part of the mirror."""
