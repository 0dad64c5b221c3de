"""Reads YAML files into checked runs."""
