"""Labels, queries and predictions to other tools, and their answers back."""
