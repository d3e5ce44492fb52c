"""What a run is told: its spec."""
