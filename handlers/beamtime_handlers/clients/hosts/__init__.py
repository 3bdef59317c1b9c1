"""Experiment directories, on disks that this computer sees and on others over ssh.

`directories` says what stands, whose it is and what is wrong, alike for both; `local` and `ssh` act.
"""
