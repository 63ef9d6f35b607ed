-- The thumbprint of the key that a lease is bound to: its secret is of no use without a proof of that key.
ALTER TABLE leases ADD COLUMN bound_to bytea CHECK (length(bound_to) = 32);
