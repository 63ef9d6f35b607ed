# The security team reads: leases, decisions, and the audit chain of its tenant.
#
# An operation is asked about in `input.operation`; a package answers those that it names, and no other.
package ops.security

reading := {"lease.list", "lease.read", "decision.list", "decision.read", "audit.read"}

default allow := false

allow if {
	input.operation in reading
	security_engineer
	trusted
}

security_engineer if input.identity.role == "security"

trusted if input.identity.trust == "trusted"

deny contains {
	"id": "OS-01",
	"message": "only the security team reads leases and decisions of others",
	"fix": "ask a security engineer, or read your own decision by its id",
} if {
	not security_engineer
}

deny contains {
	"id": "OS-02",
	"message": "nothing vouches for this identity",
	"fix": "sign in at the company's identity provider",
} if {
	not trusted
}
