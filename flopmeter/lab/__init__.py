"""Whatever needs both agent and collector: demo, replay."""
