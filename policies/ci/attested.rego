# Attested runner: production is given only to jobs on a runner that its own platform vouches for.
#
# A cluster binds its tokens to the pod that holds them, and SPIFFE attests a workload before it gives it an identity. Any
# other issuer says who a runner is, and not that it looked. A role that names no environment counts as production.
package ci.attested

production_names := {"prod", "production"}

attesting := {"kubernetes", "spiffe"}

default allow := false

allow if {
	input.operation == "mint"
	safe
}

attested if input.runner.kind in attesting

outside_production if {
	environment := lower(input.resource.environment)
	not environment in production_names
}

safe if attested

safe if outside_production

deny contains {
	"id": "AT-01",
	"message": "only jobs on an attested runner reach production",
	"fix": "run it on a runner that proves itself by its cluster's or its SPIFFE identity: tollgate exec --actor-token-from",
} if {
	not safe
}
