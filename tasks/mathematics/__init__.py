"""Mathematical answers by a grammar of our own: nothing that a policy writes is evaluated."""
