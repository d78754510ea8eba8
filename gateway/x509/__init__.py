"""Reading X.509: certificates, keys, revocation lists and OCSP answers. No other package parses them."""
