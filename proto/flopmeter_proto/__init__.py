"""The wire: translator, stream sender, what daemons share."""
