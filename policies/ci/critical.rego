# Critical services: a change needs an approved ticket.
#
# A service is critical unless the role or the target table labels it `tier = standard`, so that forgetting the label
# asks for a ticket and does not waive one.
package ci.critical

default allow := false

allow if {
	input.operation == "mint"
	ticket_settled
}

ticket_settled if input.resource.labels.tier == "standard"

ticket_settled if input.context.ticket_approved == true

deny contains {
	"id": "CR-01",
	"message": "a critical service changes only with an approved ticket",
	"fix": "get the ticket approved and declare its number as `ticket`",
} if {
	not ticket_settled
}
