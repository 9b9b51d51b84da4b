"""Offline commands that fit or rebuild the data files of fingerprints; nothing at run time imports them."""
