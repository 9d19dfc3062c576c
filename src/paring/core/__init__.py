"""What the stages of paring hand each other. No framework is imported here."""
