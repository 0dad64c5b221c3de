"""Identifies, designs and simulates: from records of runs to a preset with designed gains."""
