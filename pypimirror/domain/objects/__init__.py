"""Objects of a mirror: the bucket that they may be in, and the headers that go with them."""
