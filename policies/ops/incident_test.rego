package ops.incident

request(operation, identity) := {
	"operation": operation,
	"identity": object.union({"tenant": "shop", "trust": "trusted"}, identity),
	"resource": {"tenant": "shop", "all_tenants": false, "filter": {}},
}

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_security_and_on_call_stop if {
	every operation in {"lease.end", "block"} {
		every identity in [{"role": "security"}, {"on_call": true}] {
			allow with input as request(operation, identity)
			count(deny) == 0 with input as request(operation, identity)
		}
	}
}

test_oi_01_nobody_else_does if {
	only("OI-01") with input as request("block", {})
	only("OI-01") with input as request("block", {"role": "sre", "on_call": "true"})
	only("OI-01") with input as request("lease.end", {"role": "developer", "on_call": false})
}

test_oi_02_nor_do_those_whom_nothing_vouches_for if {
	only("OI-02") with input as request("block", {"on_call": true, "trust": "unknown"})
	only("OI-02") with input as request("block", {"role": "security", "trust": "untrusted"})
}

test_answers_for_stopping_alone if {
	every operation in {"mint", "lease.list", "decision.read", "audit.read", "keys"} {
		not allow with input as request(operation, {"role": "security"})
	}
}
