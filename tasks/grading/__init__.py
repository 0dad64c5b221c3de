"""Grading in confined worker processes, with limits on time and memory."""
