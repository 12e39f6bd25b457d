"""What agent and collector processes share: clock, logs, settings, signals, credentials."""
