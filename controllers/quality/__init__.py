"""How well a loop held its setpoint, and what entropy costs in reward."""
