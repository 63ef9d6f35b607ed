-- The thumbprint of the key that a lease is bound to: its secret is of no use without a proof of that key.
ALTER TABLE leases ADD COLUMN bound_to BLOB CHECK (bound_to IS NULL OR length(bound_to) = 32);
