"""Contract suites of the ports, and fakes. Nothing in the product imports this."""
