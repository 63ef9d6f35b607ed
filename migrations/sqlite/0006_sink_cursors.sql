-- How far each sink of events has come in each chain: what lies beyond is sent, again if need be. Writer 0 stands for the
-- checkpoints, by their number; writer -1 holds the first writer that may still have something to send.
CREATE TABLE sink_cursors (
    sink   TEXT    NOT NULL,
    writer INTEGER NOT NULL,
    tenant TEXT    NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (sink, writer)
) STRICT, WITHOUT ROWID;
