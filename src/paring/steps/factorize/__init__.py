"""Low rank: layers become products of smaller ordinary layers."""
