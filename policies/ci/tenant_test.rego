package ci.tenant

request(identity, role) := {
	"operation": "mint",
	"identity": {"tenant": identity},
	"resource": {"tenant": role},
}

on_runner(tenant) := object.union(request("shop", "shop"), {"runner": {"id": "r1", "tenant": tenant}})

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_the_own_tenant_with_or_without_runner if {
	allow with input as request("shop", "shop")
	count(deny) == 0 with input as request("shop", "shop")
	allow with input as on_runner("shop")
	count(deny) == 0 with input as on_runner("shop")
}

test_tn_01_another_tenant_or_none if {
	only("TN-01") with input as request("shop", "bank")
	only("TN-01") with input as request("shop", "Shop")
	only("TN-01") with input as request("1", 1)
	only("TN-01") with input as {"operation": "mint", "identity": {}, "resource": {"tenant": "shop"}}
	only("TN-01") with input as {"operation": "mint"}
}

test_tn_02_a_runner_of_another_tenant_or_of_none if {
	only("TN-02") with input as on_runner("bank")
	only("TN-02") with input as json.remove(on_runner("shop"), ["runner/tenant"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(request("shop", "shop"), {"operation": "decision.read"})
}
