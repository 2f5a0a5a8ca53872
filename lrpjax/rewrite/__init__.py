"""Run a planned program so that its cotangents are relevance."""
