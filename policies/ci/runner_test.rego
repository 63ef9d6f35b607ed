package ci.runner

good := {
	"operation": "mint",
	"identity": {"tenant": "shop", "runner_kind": "self-hosted"},
	"runner": {
		"id": "r1",
		"spiffe_id": "spiffe://acme.example/runner/r1",
		"pool": "deploy",
		"region": "eu-west-1",
		"tenant": "shop",
	},
}

with_runner(changes) := object.union(good, {"runner": changes})

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_a_trusted_runner if {
	allow with input as good
	count(deny) == 0 with input as good
}

test_rn_01_another_pool_or_none if {
	only("RN-01") with input as with_runner({"pool": "shared"})
	only("RN-01") with input as with_runner({"pool": ["deploy"]})
	only("RN-01") with input as json.remove(good, ["runner/pool"])
}

test_rn_02_another_region_or_none if {
	only("RN-02") with input as with_runner({"region": "us-east-1"})
	only("RN-02") with input as json.remove(good, ["runner/region"])
}

test_rn_03_a_job_that_its_platform_saw_elsewhere if {
	only("RN-03") with input as object.union(good, {"identity": {"runner_kind": "github-hosted"}})
	only("RN-03") with input as json.remove(good, ["identity/runner_kind"])
}

test_rn_04_a_runner_of_another_tenant if {
	only("RN-04") with input as with_runner({"tenant": "bank"})
	only("RN-04") with input as json.remove(good, ["runner/tenant"])
}

test_an_unproved_runner_denies_all_that_rests_on_it if {
	not allow with input as json.remove(good, ["runner"])
	{"RN-01", "RN-02", "RN-04"} == {reason.id | some reason in deny} with input as json.remove(good, ["runner"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(good, {"operation": "decision.read"})
	not allow with input as {}
}
