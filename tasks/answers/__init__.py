"""Finds the answer in a response, and parses the answers of single tasks."""
