"""The board on the wire: a face translates and decides nothing."""
