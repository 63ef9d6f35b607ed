package global.guard_rail

request(trust, environment) := {
	"operation": "mint",
	"identity": {"trust": trust},
	"resource": {"environment": environment},
}

denied if {reason.id | some reason in deny} == {"GR-01"}

test_lets_trusted_code_into_production if {
	not denied with input as request("trusted", "production")
	count(deny) == 0 with input as request("trusted", "production")
}

test_says_nothing_about_other_environments if {
	count(deny) == 0 with input as request("untrusted", "preview")
	count(deny) == 0 with input as request("unknown", "staging")
}

test_gr_01_untrusted_and_unknown_code_in_production if {
	denied with input as request("untrusted", "production")
	denied with input as request("unknown", "production")
	denied with input as request("unknown", "Production")
	denied with input as request("untrusted", "prod")
}

test_gr_01_what_is_missing_counts_against_the_request if {
	denied with input as json.remove(request("untrusted", "preview"), ["resource/environment"])
	denied with input as json.remove(request("trusted", "production"), ["identity/trust"])
	denied with input as request(true, "production")
	denied with input as {}
}
