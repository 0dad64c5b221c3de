"""Rows of data sets: files, columns, layouts of published sets."""
