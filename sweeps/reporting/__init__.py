"""What people get to see of a study: words, tables, figures and the report."""
