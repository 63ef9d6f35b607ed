-- The seals of what was pruned: read whenever something is pruned, and when somebody asks for a decision that is gone.
CREATE INDEX audit_seals ON audit (writer, seq) WHERE kind = 'sealed';
