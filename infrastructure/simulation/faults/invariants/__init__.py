"""Invariants of the ledger, written from its design and from the providers' documentation, without
any code of the product."""
