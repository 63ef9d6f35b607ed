# An incident: the security team, and whoever is on call, end leases and set blocks. Stopping is easier than reading.
package ops.incident

stopping := {"lease.end", "block"}

default allow := false

allow if {
	input.operation in stopping
	responder
	trusted
}

responder if input.identity.role == "security"

responder if input.identity.on_call == true

trusted if input.identity.trust == "trusted"

deny contains {
	"id": "OI-01",
	"message": "only the security team and whoever is on call stop what others use",
	"fix": "call them; your own lease ends with its lease secret",
} if {
	not responder
}

deny contains {
	"id": "OI-02",
	"message": "nothing vouches for this identity",
	"fix": "sign in at the company's identity provider",
} if {
	not trusted
}
