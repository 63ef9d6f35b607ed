package ci.high_risk

request(action, annotation) := {
	"operation": "mint",
	"context": {"action": action, "annotation": annotation},
}

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_an_ordinary_action_without_approval if {
	allow with input as {"operation": "mint", "context": {"action": "read-metrics"}}
	count(deny) == 0 with input as {"operation": "mint", "context": {"action": "read-metrics"}}
}

test_allows_a_high_risk_action_with_a_named_approval if {
	every annotation in ["APPROVAL-1", "restore orders APPROVAL-1234", "APPROVAL-1234 by ops"] {
		allow with input as request("restore-backup", annotation)
		count(deny) == 0 with input as request("restore-backup", annotation)
	}
}

test_hr_01_an_action_that_is_not_named if {
	only("HR-01") with input as json.remove(request("x", "APPROVAL-1"), ["context/action"])
	only("HR-01") with input as request("", "")
	only("HR-01") with input as request(null, "")
	only("HR-01") with input as request(7, "")
	only("HR-01") with input as request(true, "")
	only("HR-01") with input as request(["read-metrics"], "")
}

test_hr_02_a_high_risk_action_without_approval if {
	every action in high_risk_actions {
		only("HR-02") with input as {"operation": "mint", "context": {"action": action}}
	}
	every annotation in ["", "urgent", "APPROVAL-", "approval-1234", "xAPPROVAL-1234", "APPROVAL-12x", 7, null, true] {
		only("HR-02") with input as request("restore-backup", annotation)
	}
}

test_answers_only_for_minting if {
	not allow with input as {"operation": "decision.read", "context": {"action": "read-metrics"}}
	not allow with input as {}
}
