"""Programs for developers: fuzz and load tests, official scores, pictures of the page."""
