"""The figures of the report: what they plot, how they look, and drawing only those whose input changed."""
