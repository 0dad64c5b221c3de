"""Where the answer stands in a response, and parsers of the answers of single tasks."""
