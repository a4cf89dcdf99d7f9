"""The back half of the fetcher: what was fetched becomes a part of the mirror."""
