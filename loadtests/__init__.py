"""The instrument: declares, generates, times and judges load. Knows the target by its URL only."""
