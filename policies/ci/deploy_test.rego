package ci.deploy

good := {
	"operation": "mint",
	"identity": {"trust": "trusted"},
	"resource": {"environment": "production"},
	"context": {
		"branch": "main",
		"environment": "production",
		"weekday": "monday",
		"time": "07:00",
		"commit_signed": true,
	},
}

# `good` with some values of one part replaced.
with_context(changes) := object.union(good, {"context": changes})

with_identity(changes) := object.union(good, {"identity": changes})

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_a_deployment_from_main if {
	allow with input as good
	count(deny) == 0 with input as good
}

test_allows_a_protected_branch_of_another_name if {
	branch := object.union(with_identity({"ref_protected": true}), {"context": {"branch": "release-1"}})
	allow with input as branch
	count(deny) == 0 with input as branch
}

test_dp_01_untrusted_or_unknown_code if {
	only("DP-01") with input as with_identity({"trust": "untrusted"})
	only("DP-01") with input as with_identity({"trust": "unknown"})
	only("DP-01") with input as with_identity({"trust": true})
}

test_dp_02_another_environment_or_none if {
	only("DP-02") with input as with_context({"environment": "staging"})
	only("DP-02") with input as json.remove(good, ["context/environment"])
	only("DP-02") with input as json.remove(good, ["resource/environment"])
	only("DP-02") with input as json.remove(good, ["context/environment", "resource/environment"])
}

test_dp_03_another_branch_or_none if {
	only("DP-03") with input as with_context({"branch": "feature"})
	only("DP-03") with input as with_context({"branch": "Main"})
	only("DP-03") with input as with_context({"branch": "main2"})
	only("DP-03") with input as json.remove(good, ["context/branch"])
}

test_dp_03_a_protection_that_is_not_true if {
	branch := object.union(with_identity({"ref_protected": "false"}), {"context": {"branch": "release-1"}})
	only("DP-03") with input as branch
}

test_dp_04_outside_working_hours if {
	only("DP-04") with input as with_context({"time": "06:59"})
	only("DP-04") with input as with_context({"time": "19:00"})
	only("DP-04") with input as with_context({"weekday": "saturday"})
	only("DP-04") with input as with_context({"weekday": "Monday"})
	allow with input as with_context({"time": "18:59", "weekday": "friday"})
}

test_dp_04_times_that_are_no_text if {
	only("DP-04") with input as with_context({"time": null})
	only("DP-04") with input as with_context({"time": 900})
	only("DP-04") with input as with_context({"time": ["07:00"]})
	only("DP-04") with input as json.remove(good, ["context/time"])
	only("DP-04") with input as json.remove(good, ["context/weekday"])
}

test_dp_05_unsigned_unknown_or_not_a_boolean if {
	only("DP-05") with input as with_context({"commit_signed": false})
	only("DP-05") with input as with_context({"commit_signed": "true"})
	only("DP-05") with input as with_context({"commit_signed": 1})
	only("DP-05") with input as with_context({"commit_signed": null})
	only("DP-05") with input as json.remove(good, ["context/commit_signed"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(good, {"operation": "decision.read"})
	not allow with input as json.remove(good, ["operation"])
}

test_nothing_known_denies_everything if {
	not allow with input as {}
	count(deny) == 5 with input as {}
}
