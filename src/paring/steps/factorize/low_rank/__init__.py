"""What the steps on low rank are made of."""
