-- Where a signing key's private half is: `store` (sealed in its row) or `kms` (the row holds, sealed, which key it is).
ALTER TABLE signing_keys ADD COLUMN place TEXT NOT NULL DEFAULT 'store';

-- Every load of the signing keys compares them with their newest records in the chain.
CREATE INDEX audit_keys ON audit (writer, seq) WHERE kind = 'key';
