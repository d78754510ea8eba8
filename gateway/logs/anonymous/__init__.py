"""`gateway logs --anonymise`: lines of an access log in which people and addresses are replaced."""
