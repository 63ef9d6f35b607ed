# Debug access for whoever is on call: for debugging, and for half an hour at most.
package ci.debug

max_ttl := "30m"

default allow := false

allow if {
	input.operation == "mint"
	on_call
	debugging
	short
}

on_call if input.identity.on_call == true

debugging if input.context.purpose == "debug"

# Minutes. In Rego null and booleans are smaller than every number; the lower end keeps them out.
short if {
	input.context.requested_ttl > 0
	input.context.requested_ttl <= 30
}

deny contains {
	"id": "DB-01",
	"message": "you are not on call",
	"fix": "ask the person on call, or have the rota changed and sign in again",
} if {
	not on_call
}

deny contains {
	"id": "DB-02",
	"message": "debug access is for debugging",
	"fix": "declare the purpose `debug`",
} if {
	not debugging
}

deny contains {
	"id": "DB-03",
	"message": "debug access lasts 30 minutes at most",
	"fix": "ask for 30m or less, and ask again if that is not enough",
} if {
	not short
}
