# Preview deployments: trusted jobs of any branch, anywhere but in production, for a quarter of an hour.
package ci.preview

production_names := {"prod", "production"}

max_ttl := "15m"

default allow := false

allow if {
	input.operation == "mint"
	trusted
	outside_production
}

# Removing a preview is for the branch that cleans up; everything else that was asked for is for all.
scopes contains scope if {
	some scope in input.resource.scopes
	not endswith(scope, ":delete")
}

scopes contains scope if {
	some scope in input.resource.scopes
	input.context.branch == "main"
}

trusted if input.identity.trust == "trusted"

# A role without an environment might be production.
outside_production if {
	environment := lower(input.resource.environment)
	not environment in production_names
}

deny contains {
	"id": "PV-01",
	"message": "the job may run code that nobody on the project wrote",
	"fix": "run it from a push, not from a fork or a pull request",
} if {
	not trusted
}

deny contains {
	"id": "PV-02",
	"message": "previews run outside production, in a role that names its environment",
	"fix": "ask for the role that deploys to production",
} if {
	not outside_production
}
