"""What the collector shows: metrics, JSON, page."""
