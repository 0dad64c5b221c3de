"""YAML in, checked runs out."""
