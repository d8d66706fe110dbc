"""Every wait point of an exchange: whoever is ended there, and however, everything comes back."""
