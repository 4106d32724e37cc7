"""The rows of the table of goals, measured in groups whose columns are compared with one another."""
