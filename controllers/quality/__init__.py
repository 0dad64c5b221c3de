"""Quality of a loop, and the reward that entropy costs."""
