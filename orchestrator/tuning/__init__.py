"""Studies: a search for the gains of an arm, first on an identified plant, then in real training.

``study_file`` reads the file, ``space`` says what varies, ``criteria`` what is good, ``judging`` has stage one;
``worker``, ``trial`` and ``trial_queue`` are stage two; ``winner`` and ``preset`` are what comes out, which
``orchestrator.report`` shows.
"""
