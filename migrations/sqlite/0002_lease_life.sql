-- Leases that are renewed, that are heard of, and whose ends are tried until they succeed.

-- When a lease died before its first renewal, as its own record says; null while it was never renewed. Each renewal has a
-- record that says when it dies from then on.
ALTER TABLE leases ADD COLUMN first_dies_at INTEGER;

-- Leases that end when nobody hears of them for `every` milliseconds, counted from `beat_at` over the time in which a
-- server was ready to hear. `due_at` is when a look makes sense, not when the lease ends.
CREATE TABLE heartbeats (
    lease   BLOB    PRIMARY KEY REFERENCES leases (id),
    tenant  TEXT    NOT NULL,
    every   INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    due_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX heartbeats_due ON heartbeats (due_at);

-- When a server was ready to hear heartbeats, written while there are leases that have some. A writer that was held up has
-- several rows.
CREATE TABLE ready (
    writer INTEGER NOT NULL REFERENCES writers (id),
    tenant TEXT    NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (writer, since)
) STRICT, WITHOUT ROWID;

-- Attempts to end what the leases and authorisations say is to be ended: `subject` is the id of either. The fence grows
-- with every claim, so that a worker that was held up cannot write over what another has done since. `dead_at` is when
-- the attempts became so many that somebody must look.
CREATE TABLE endings (
    subject       BLOB    PRIMARY KEY CHECK (length(subject) = 16),
    tenant        TEXT    NOT NULL,
    attempts      INTEGER NOT NULL,
    next_try_at   INTEGER NOT NULL,
    claimed_by    INTEGER,
    claimed_until INTEGER,
    fence         INTEGER NOT NULL,
    dead_at       INTEGER
) STRICT, WITHOUT ROWID;
