"""The provenance report: its data, and the forms in which it is shown."""
