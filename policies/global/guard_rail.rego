# The guard-rail of every role: nothing but trusted code reaches production.
#
# A global package only restricts. A role that names no environment counts as production.
package global.guard_rail

production_names := {"prod", "production"}

trusted if input.identity.trust == "trusted"

outside_production if {
	environment := lower(input.resource.environment)
	not environment in production_names
}

safe if trusted

safe if outside_production

deny contains {
	"id": "GR-01",
	"message": "only trusted jobs reach production",
	"fix": "run the job from a push or a release, on an issuer that says so",
} if {
	not safe
}
