"""What a verb of the command line does where that is more than one call: from its words to what is said and written."""
