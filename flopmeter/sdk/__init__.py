"""What a training script imports: claims of its own work, sent to the node's agent."""
