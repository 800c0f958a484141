"""What Veredus is held against: the same work without any of its logic. Nothing of Veredus is imported here."""
