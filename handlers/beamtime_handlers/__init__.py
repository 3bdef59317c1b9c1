"""What the buttons do: one action a file; `clients` holds one outside service a file."""
