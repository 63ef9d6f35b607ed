package ci.debug

good := {
	"operation": "mint",
	"identity": {"on_call": true},
	"context": {"purpose": "debug", "requested_ttl": 30},
}

with_context(changes) := object.union(good, {"context": changes})

only(id) if {
	not allow
	{reason.id | some reason in deny} == {id}
}

test_allows_whoever_is_on_call if {
	allow with input as good
	count(deny) == 0 with input as good
	max_ttl == "30m" with input as good
}

test_db_01_not_on_call_or_not_said if {
	only("DB-01") with input as object.union(good, {"identity": {"on_call": false}})
	only("DB-01") with input as object.union(good, {"identity": {"on_call": "true"}})
	only("DB-01") with input as json.remove(good, ["identity/on_call"])
}

test_db_02_another_purpose_or_none if {
	only("DB-02") with input as with_context({"purpose": "deploy"})
	only("DB-02") with input as with_context({"purpose": "debugging"})
	only("DB-02") with input as json.remove(good, ["context/purpose"])
}

test_db_03_too_long if {
	only("DB-03") with input as with_context({"requested_ttl": 30.5})
	only("DB-03") with input as with_context({"requested_ttl": 60})
	allow with input as with_context({"requested_ttl": 0.5})
}

test_db_03_a_lifetime_that_is_no_number if {
	only("DB-03") with input as with_context({"requested_ttl": null})
	only("DB-03") with input as with_context({"requested_ttl": true})
	only("DB-03") with input as with_context({"requested_ttl": "30"})
	only("DB-03") with input as with_context({"requested_ttl": [30]})
	only("DB-03") with input as with_context({"requested_ttl": 0})
	only("DB-03") with input as json.remove(good, ["context/requested_ttl"])
}

test_answers_only_for_minting if {
	not allow with input as object.union(good, {"operation": "decision.read"})
	not allow with input as {}
}
