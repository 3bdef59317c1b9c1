"""Operator screens out of the records and one layout: what stands where, as MEDM and Phoebus write it."""
