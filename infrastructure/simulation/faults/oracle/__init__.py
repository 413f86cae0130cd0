"""Oracle of the fault simulation: the invariants of the ledger, written without the product's
code."""
