-- Blocks. A tenant of '' is the server itself: such a block holds in every tenant.

-- `subject` is `kind:value`, or `everything`. A block is in force until it is lifted or expires.
CREATE TABLE blocks (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    tenant     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    set_by     TEXT    NOT NULL,
    set_at     INTEGER NOT NULL,
    expires_at INTEGER,
    lifted_at  INTEGER,
    lifted_by  TEXT
) STRICT, WITHOUT ROWID;

-- What each authorisation asks for: a few look-ups among the few that are in force.
CREATE INDEX blocks_not_lifted ON blocks (subject) WHERE lifted_at IS NULL;

-- What a block is matched with beyond the columns of a decision: of every decision that led to an authorisation since
-- this table exists, as long as the decision itself. Earlier ones are matched by reading their input, until they are dead.
CREATE TABLE decision_keys (
    decision      INTEGER PRIMARY KEY REFERENCES decisions (n),
    tenant        TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    repository_id TEXT,
    repository    TEXT,
    runner        TEXT
) STRICT;

-- What lived when a block was set and had to end: a lease, or the decision of an authorisation without one. One audit
-- record covers all rows of one transaction.
CREATE TABLE block_effects (
    subject BLOB    NOT NULL CHECK (length(subject) = 16),
    block   BLOB    NOT NULL REFERENCES blocks (id),
    tenant  TEXT    NOT NULL,
    leased  INTEGER NOT NULL CHECK (leased IN (0, 1)),
    writer  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (subject, block),
    FOREIGN KEY (writer, seq) REFERENCES audit (writer, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX block_effects_by_block ON block_effects (block);
CREATE INDEX block_effects_by_record ON block_effects (writer, seq);

-- The leases that somebody ended and that live on until they expire, by their death.
CREATE INDEX leases_dying ON leases (dies_at) WHERE end_how = 'dies_at_expiry';
