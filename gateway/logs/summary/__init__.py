"""The summary of an access log: counts in constant memory, and a text, a JSON object and a page that show them."""
