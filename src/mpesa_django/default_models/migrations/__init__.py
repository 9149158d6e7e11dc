"""The migrations of the default models."""
