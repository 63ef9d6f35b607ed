package vault.app

request(trust, branch, environment) := {
	"operation": "mint",
	"identity": {"trust": trust},
	"resource": {"environment": "production"},
	"context": {"branch": branch, "environment": environment},
}

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_the_protected_branch_or_the_environment if {
	every good in [
		request("trusted", "main", "staging"),
		request("trusted", "feature", "production"),
		json.remove(request("trusted", "main", "x"), ["context/environment"]),
		object.union(request("trusted", "release-1", "staging"), {"identity": {"ref_protected": true}}),
	] {
		allow with input as good
		count(deny) == 0 with input as good
	}
}

test_va_01_code_that_is_not_trusted if {
	only("VA-01") with input as request("untrusted", "main", "production")
	only("VA-01") with input as request("unknown", "main", "production")
	only("VA-01") with input as json.remove(request("trusted", "main", "production"), ["identity/trust"])
}

test_va_02_another_branch_and_another_environment if {
	only("VA-02") with input as request("trusted", "feature", "staging")
	only("VA-02") with input as request("trusted", null, 7)
	only("VA-02") with input as json.remove(
		request("trusted", "main", "production"),
		["context/branch", "context/environment", "resource/environment"],
	)
	only("VA-02") with input as object.union(
		request("trusted", "release-1", "staging"),
		{"identity": {"ref_protected": "true"}},
	)
}

test_answers_only_for_minting if {
	not allow with input as object.union(request("trusted", "main", "production"), {"operation": "decision.read"})
	not allow with input as {}
}
