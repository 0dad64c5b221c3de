"""The control layer for trainers other than Entrostat's own."""
