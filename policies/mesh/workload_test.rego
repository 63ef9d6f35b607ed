package mesh.workload

good := {
	"operation": "mint",
	"identity": {
		"issuer": "spiffe://mesh.example.com",
		"kind": "spiffe",
		"namespace": "shop",
		"service_account": "reports",
	},
	"resource": {"role": "mesh/reports"},
}

with_identity(changes) := object.union(good, {"identity": changes})

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_the_named_service_account if {
	allow with input as good
	count(deny) == 0 with input as good
}

test_mw_01_another_trust_domain_or_a_token_of_the_cluster if {
	only("MW-01") with input as with_identity({"issuer": "spiffe://other.example.com"})
	only("MW-01") with input as with_identity({"issuer": "https://oidc.cluster-1.example.com", "kind": "kubernetes"})
	only("MW-01") with input as json.remove(good, ["identity/issuer"])
}

test_mw_02_another_account_or_namespace if {
	only("MW-02") with input as with_identity({"service_account": "default"})
	only("MW-02") with input as with_identity({"namespace": "shop-preview"})
	only("MW-02") with input as json.remove(good, ["identity/namespace"])
	only("MW-02") with input as json.remove(good, ["identity/service_account"])
}

test_mw_02_a_role_that_names_nobody if {
	only("MW-02") with input as object.union(good, {"resource": {"role": "deploy/production"}})
	only("MW-02") with input as json.remove(good, ["resource/role"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(good, {"operation": "decision.read"})
	not allow with input as {}
}
