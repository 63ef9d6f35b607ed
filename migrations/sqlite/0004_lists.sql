-- Lists and searches: leases and decisions, newest first. Decision ids begin with their time, so that both indexes grow at
-- the end of each run and serve searches by time as well.

-- A decision leads to one lease at most, so that its id is a lease's place in a list. (Not unique: that rows were added to
-- the file is for `audit verify` to say.)
CREATE INDEX leases_by_decision ON leases (decision);

CREATE INDEX decisions_by_principal ON decisions (principal, id);

-- Leases that nothing can end and that live until they expire; with `leases_alive` all that is alive.
CREATE INDEX leases_outliving ON leases (dies_at) WHERE end_how = 'dies_at_expiry';
