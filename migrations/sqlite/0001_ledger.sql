-- The ledger, first version. Times are milliseconds since 1970 (UTC); ids are 16 bytes; hashes are SHA-256.
-- A tenant of '' is the server itself.

-- One row. The epoch grows with every block, so that what was decided before it is found out of date.
CREATE TABLE store (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    tenant TEXT    NOT NULL,
    id     BLOB    NOT NULL CHECK (length(id) = 16),
    epoch  INTEGER NOT NULL
) STRICT;

-- One per process start (and per replica): each has its own hash chain.
CREATE TABLE writers (
    id         INTEGER PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    instance   BLOB    NOT NULL UNIQUE CHECK (length(instance) = 16),
    started_at INTEGER NOT NULL
) STRICT;

-- The chain. `payload` is the hash of what the record is about: a row elsewhere, named by `subject`, or `body`.
CREATE TABLE audit (
    writer  INTEGER NOT NULL REFERENCES writers (id),
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    tenant  TEXT    NOT NULL,
    subject BLOB    NOT NULL,
    payload BLOB    NOT NULL CHECK (length(payload) = 32),
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    body    TEXT,
    PRIMARY KEY (writer, seq)
) STRICT, WITHOUT ROWID;

-- What many decisions have in common: versions, revisions, origins, and the shape of the policy input.
CREATE TABLE frames (
    id     INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    hash   BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    body   TEXT NOT NULL
) STRICT;

-- `outcome` is `allow`, `would_allow` or a refusal code. `handle` is sealed; it and `dies_by` belong to an allow.
CREATE TABLE decisions (
    n         INTEGER PRIMARY KEY,
    id        BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    tenant    TEXT    NOT NULL,
    principal TEXT    NOT NULL,
    role      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    operation TEXT    NOT NULL,
    outcome   TEXT    NOT NULL,
    token     BLOB    NOT NULL CHECK (length(token) = 32),
    frame     INTEGER NOT NULL REFERENCES frames (id),
    body      TEXT    NOT NULL,
    input     BLOB    NOT NULL CHECK (length(input) = 32),
    target    TEXT,
    handle    BLOB,
    dies_by   INTEGER
) STRICT;

-- Values of the policy input, in the order that the frame gives them names. May be erased: the chain holds their hash.
CREATE TABLE inputs (
    decision INTEGER PRIMARY KEY REFERENCES decisions (n),
    tenant   TEXT NOT NULL,
    body     TEXT NOT NULL
) STRICT;

-- Authorisations that are not known to be leased or dead: what may live without a record of it.
-- (`OR`, because SQLite checks an `IN` of more than two values through a temporary table that it makes for every row.)
CREATE TABLE authorisations (
    decision BLOB    PRIMARY KEY REFERENCES decisions (id),
    tenant   TEXT    NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state = 'open' OR state = 'superseded' OR state = 'abandoned' OR state = 'unknown'),
    epoch    INTEGER NOT NULL,
    dies_by  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
    tenant       TEXT    NOT NULL,
    decision     BLOB    NOT NULL REFERENCES decisions (id),
    secret       BLOB    NOT NULL CHECK (length(secret) = 32),
    issued_at    INTEGER NOT NULL,
    dies_at      INTEGER NOT NULL,
    revocable    INTEGER NOT NULL CHECK (revocable IN (0, 1)),
    end_asked_at INTEGER,
    ended_at     INTEGER,
    end_how      TEXT CHECK (end_how IN ('at_target', 'dies_at_expiry'))
) STRICT, WITHOUT ROWID;

-- The leases that somebody wants ended and nobody has: few, and empty when all is well.
CREATE INDEX leases_to_end ON leases (end_asked_at) WHERE end_asked_at IS NOT NULL AND end_how IS NULL;

-- The leases that nobody ended, by their death: how many are alive.
CREATE INDEX leases_alive ON leases (dies_at) WHERE end_how IS NULL;

-- `key` hashes token and role. Kept until the token is dead for certain.
CREATE TABLE replay (
    key      BLOB    PRIMARY KEY CHECK (length(key) = 32),
    tenant   TEXT    NOT NULL,
    decision BLOB    NOT NULL,
    expires  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `key` hashes tenant, principal and the client's key; `request` hashes what was asked.
CREATE TABLE idempotency (
    key      BLOB    PRIMARY KEY CHECK (length(key) = 32),
    tenant   TEXT    NOT NULL,
    request  BLOB    NOT NULL CHECK (length(request) = 32),
    decision BLOB    NOT NULL,
    lease    BLOB,
    first_at INTEGER NOT NULL,
    expires  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Refusals that have no record of their own, per minute; one audit record covers each flush.
CREATE TABLE refusal_counts (
    writer INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    tenant TEXT    NOT NULL,
    code   TEXT    NOT NULL,
    source TEXT    NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (writer, seq, minute, tenant, code, source),
    FOREIGN KEY (writer, seq) REFERENCES audit (writer, seq)
) STRICT, WITHOUT ROWID;

-- Last good JWKS of each issuer, sealed: whoever can write to this file cannot plant a key.
CREATE TABLE issuer_keys (
    issuer     TEXT    PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    fetched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
    kid          TEXT    PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    purpose      TEXT    NOT NULL,
    algorithm    TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    sealed       BLOB    NOT NULL,
    public_jwk   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Signed heads of the chains, as compact JWS; `n` has no gaps.
CREATE TABLE checkpoints (
    n      INTEGER PRIMARY KEY,
    tenant TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    jws    TEXT    NOT NULL
) STRICT;
