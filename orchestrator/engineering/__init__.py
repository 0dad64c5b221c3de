"""Identify, design, simulate: from records of runs to a preset with designed gains."""
