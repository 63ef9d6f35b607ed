package ci.attested

on(kind, environment) := {
	"operation": "mint",
	"resource": {"environment": environment},
	"runner": {"id": "r1", "kind": kind},
}

refused if {
	not allow
	{reason.id | some reason in deny} == {"AT-01"}
}

test_allows_production_on_an_attested_runner if {
	allow with input as on("kubernetes", "production")
	allow with input as on("spiffe", "production")
	count(deny) == 0 with input as on("kubernetes", "production")
}

test_at_01_production_on_a_runner_that_nobody_attests if {
	refused with input as on("generic", "production")
	refused with input as on("github", "Prod")
	refused with input as on(["kubernetes"], "production")
	refused with input as json.remove(on("kubernetes", "production"), ["runner/kind"])
	refused with input as json.remove(on("kubernetes", "production"), ["runner"])
}

test_at_01_a_role_without_an_environment_is_production if {
	refused with input as json.remove(on("generic", "production"), ["resource/environment"])
	allow with input as json.remove(on("spiffe", "production"), ["resource/environment"])
}

test_allows_elsewhere_without_a_runner if {
	allow with input as json.remove(on("kubernetes", "preview"), ["runner"])
	count(deny) == 0 with input as json.remove(on("kubernetes", "preview"), ["runner"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(on("kubernetes", "production"), {"operation": "decision.read"})
	not allow with input as {}
}
