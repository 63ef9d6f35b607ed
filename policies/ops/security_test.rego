package ops.security

request(operation, role, trust) := {
	"operation": operation,
	"identity": {"tenant": "shop", "role": role, "trust": trust},
	"resource": {"tenant": "shop", "all_tenants": false, "filter": {}},
}

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_the_security_team_reads if {
	every operation in {"lease.list", "lease.read", "decision.list", "decision.read", "audit.read"} {
		allow with input as request(operation, "security", "trusted")
		count(deny) == 0 with input as request(operation, "security", "trusted")
	}
}

test_os_01_others_do_not if {
	only("OS-01") with input as request("lease.list", "sre", "trusted")
	only("OS-01") with input as request("lease.list", ["security"], "trusted")
	only("OS-01") with input as json.remove(request("lease.list", "", "trusted"), ["identity/role"])
}

test_os_02_nor_do_those_whom_nothing_vouches_for if {
	only("OS-02") with input as request("decision.read", "security", "untrusted")
	only("OS-02") with input as request("decision.read", "security", "unknown")
	only("OS-02") with input as json.remove(request("decision.read", "security", ""), ["identity/trust"])
}

test_answers_for_reading_alone if {
	every operation in {"mint", "lease.end", "block", "keys", "lease", ""} {
		not allow with input as request(operation, "security", "trusted")
	}
}
