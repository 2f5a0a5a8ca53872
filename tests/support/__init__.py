"""What the tests of several parts share: small networks and comparisons."""
