"""How the services outside are spoken to: one service a file, chosen by its section of the site file."""
