# Secrets of an application in Vault: read by trusted code of the protected branch, or of the role's own environment.
package vault.app

default allow := false

allow if {
	input.operation == "mint"
	trusted
	from_the_right_place
}

trusted if input.identity.trust == "trusted"

from_the_right_place if input.context.branch == "main"

from_the_right_place if input.identity.ref_protected == true

from_the_right_place if input.context.environment == input.resource.environment

deny contains {
	"id": "VA-01",
	"message": "the job may run code that nobody on the project wrote",
	"fix": "run it from a push or a release, not from a fork or a pull request",
} if {
	not trusted
}

deny contains {
	"id": "VA-02",
	"message": "the job runs neither from a protected branch nor in the role's environment",
	"fix": "run it from `main`, or name the role's environment in the job's definition",
} if {
	not from_the_right_place
}
