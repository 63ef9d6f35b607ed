# Tenant isolation: an identity, and the runner it shows, get credentials of their own tenant alone.
#
# Core refuses a role of another tenant before any policy runs; this says it again where the security team can read it.
package ci.tenant

default allow := false

allow if {
	input.operation == "mint"
	own_tenant
	own_runner
}

own_tenant if input.identity.tenant == input.resource.tenant

# No runner need be proved; one that is must be the tenant's.
own_runner if not input.runner

own_runner if input.runner.tenant == input.resource.tenant

deny contains {
	"id": "TN-01",
	"message": "the identity belongs to another tenant than the role",
	"fix": "ask for a role of your own tenant",
} if {
	not own_tenant
}

deny contains {
	"id": "TN-02",
	"message": "the runner belongs to another tenant than the role",
	"fix": "run the job on a runner of your own tenant",
} if {
	not own_runner
}
