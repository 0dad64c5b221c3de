"""Studies: a search for the gains of an arm, first on an identified plant, then in real training.

``reading`` reads the file, ``space`` says what varies, ``objectives`` what is good, ``simulated`` is stage
one, ``trial`` and ``worker`` are stage two, ``report`` and ``preset`` are what comes out.
"""
