"""The verbs of the command line: the words of each, what it calls, and what is said and written of that."""
