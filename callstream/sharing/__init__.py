"""How what is limited is shared."""
