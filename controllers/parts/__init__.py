"""Parts of a loop beside its law: filters, references, feedforward, dither, cascades."""
