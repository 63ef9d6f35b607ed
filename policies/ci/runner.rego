# Trusted runner: the job executes on a proved runner of a trusted pool, in a region where the data may be.
#
# `input.runner` is there only if the runner proved itself; without proof every condition below denies.
package ci.runner

trusted_pools := {"deploy", "release"}

trusted_regions := {"eu-central-1", "eu-west-1"}

default allow := false

allow if {
	input.operation == "mint"
	trusted_pool
	trusted_region
	self_hosted
	own_runner
}

trusted_pool if input.runner.pool in trusted_pools

trusted_region if input.runner.region in trusted_regions

# The token must agree: a job that its platform saw on a hosted runner does not execute on ours, whatever it shows.
self_hosted if input.identity.runner_kind == "self-hosted"

own_runner if input.runner.tenant == input.identity.tenant

deny contains {
	"id": "RN-01",
	"message": "the job does not execute on a runner of a trusted pool",
	"fix": "run it on a runner of the pool deploy or release, and let the runner prove itself",
} if {
	not trusted_pool
}

deny contains {
	"id": "RN-02",
	"message": "the runner is not in a region where this may run",
	"fix": "run it in eu-central-1 or eu-west-1",
} if {
	not trusted_region
}

deny contains {
	"id": "RN-03",
	"message": "the platform says that the job does not execute on a self-hosted runner",
	"fix": "let the job ask for a self-hosted runner",
} if {
	not self_hosted
}

deny contains {
	"id": "RN-04",
	"message": "the runner belongs to another tenant than the job",
	"fix": "run it on a runner of your own tenant",
} if {
	not own_runner
}
