# Deployment: trusted code, from the protected branch, in working hours, with a signed commit, in the environment that
# the role deploys to.
#
# Every denial is the negation of a condition that must hold, so that a key which is missing denies.
package ci.deploy

working_days := {"monday", "tuesday", "wednesday", "thursday", "friday"}

default allow := false

allow if {
	input.operation == "mint"
	trusted
	named_environment
	protected_branch
	working_hours
	input.context.commit_signed == true
}

# The platform vouches for the code that runs: no fork, no pull request, no re-run with a shell.
trusted if input.identity.trust == "trusted"

named_environment if input.context.environment == input.resource.environment

protected_branch if input.context.branch == "main"

protected_branch if input.identity.ref_protected == true

# Times are text, HH:MM. Both ends are compared, so that a value of another type is outside.
working_hours if {
	input.context.weekday in working_days
	input.context.time >= "07:00"
	input.context.time < "19:00"
}

deny contains {
	"id": "DP-01",
	"message": "the job may run code that nobody on the project wrote",
	"fix": "run it from a push or a release, not from a fork or a pull request",
} if {
	not trusted
}

deny contains {
	"id": "DP-02",
	"message": "the job does not run in the environment that the role deploys to",
	"fix": "name that environment in the job's definition",
} if {
	not named_environment
}

deny contains {
	"id": "DP-03",
	"message": "branch is not protected",
	"fix": "run this job from `main`, or ask for role deploy-preview",
} if {
	not protected_branch
}

deny contains {
	"id": "DP-04",
	"message": "deployments run Monday to Friday, 07:00 to 19:00",
	"fix": "run it in working hours, or ask the person on call",
} if {
	not working_hours
}

deny contains {
	"id": "DP-05",
	"message": "the commit is not signed, or its signature is not verified",
	"fix": "sign the commit with a key that the code host knows, and push again",
} if {
	not input.context.commit_signed == true
}
