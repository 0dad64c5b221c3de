"""Verifiers of our own for the datasets of reasoning-gym.  They read an answer; none of them evaluates it.

A verifier is a function of the answer's text, the dataset's own answer and what the dataset says of its
problem.  It is pure, takes any text, and says right or wrong: there is no part credit.
"""
