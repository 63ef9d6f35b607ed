package ci.preview

request(trust, environment) := {
	"operation": "mint",
	"identity": {"trust": trust},
	"resource": {"environment": environment, "scopes": {"preview:deploy", "preview:delete"}},
	"context": {"branch": "feature"},
}

on_main := object.union(request("trusted", "preview"), {"context": {"branch": "main"}})

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_a_trusted_job_of_any_branch if {
	allow with input as request("trusted", "preview")
	count(deny) == 0 with input as request("trusted", "preview")
	max_ttl == "15m" with input as request("trusted", "preview")
}

test_only_the_default_branch_may_delete if {
	scopes == {"preview:deploy"} with input as request("trusted", "preview")
	scopes == {"preview:deploy", "preview:delete"} with input as on_main
	scopes == {"preview:deploy"} with input as json.remove(on_main, ["context"])
}

test_pv_01_code_that_is_not_trusted if {
	only("PV-01") with input as request("untrusted", "preview")
	only("PV-01") with input as request("unknown", "preview")
	only("PV-01") with input as json.remove(request("trusted", "preview"), ["identity"])
}

test_pv_02_production_or_no_environment if {
	only("PV-02") with input as request("trusted", "production")
	only("PV-02") with input as request("trusted", "Prod")
	only("PV-02") with input as json.remove(request("trusted", "preview"), ["resource/environment"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(request("trusted", "preview"), {"operation": "decision.read"})
	not allow with input as {}
}
