"""Campaigns: one text to many people, from a file or from contact lists."""
