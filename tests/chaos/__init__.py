"""Chaos: an IOC at work in the box, killed again and again, and what the box saw of it afterwards.

``make chaos`` runs it. What was lost or doubled is counted in the box's own logs and on its disks, never in
the history of the IOC.
"""
