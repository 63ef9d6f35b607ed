package ci.critical

request(tier, approved) := {
	"operation": "mint",
	"resource": {"labels": {"tier": tier}},
	"context": {"ticket_approved": approved},
}

denied if {
	not allow
	{reason.id | some reason in deny} == {"CR-01"}
}

test_allows_an_approved_ticket if {
	allow with input as request("critical", true)
	count(deny) == 0 with input as request("critical", true)
}

test_allows_a_standard_service_without_ticket if {
	allow with input as request("standard", false)
	count(deny) == 0 with input as request("standard", false)
}

test_cr_01_a_ticket_that_is_not_approved if {
	denied with input as request("critical", false)
	denied with input as request("critical", "true")
	denied with input as request("critical", 1)
	denied with input as request("critical", null)
}

test_cr_01_no_ticket_and_no_label if {
	denied with input as {"operation": "mint", "resource": {"labels": {}}, "context": {}}
	denied with input as {"operation": "mint", "resource": {"labels": {"tier": "Standard"}}, "context": {}}
	denied with input as {"operation": "mint"}
}

test_answers_only_for_minting if {
	not allow with input as object.union(request("critical", true), {"operation": "decision.read"})
	not allow with input as {}
}
