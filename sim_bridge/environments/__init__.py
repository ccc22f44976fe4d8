"""Environments of our own, where no library has what a paper used."""
