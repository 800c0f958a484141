"""The page of health: curves of each source at each provider."""
