"""`callstream topics`: creates the topics that are missing and checks those that are there."""
