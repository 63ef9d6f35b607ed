# High-risk actions: the request says what it will do, and names the approval if that is dangerous.
#
# Both keys are declared: the caller's word. They stop accidents and leave a trace to check against the approval; whoever
# must be kept from an action needs a role without the right to it. Let the role's `one_of` list the actions there are.
package ci.high_risk

high_risk_actions := {
	"delete-data",
	"disable-logging",
	"migrate-schema",
	"restore-backup",
	"rotate-root-key",
}

default allow := false

allow if {
	input.operation == "mint"
	action_named
	approval_settled
}

# Leaving the action out must not be a way around the list.
action_named if {
	is_string(input.context.action)
	input.context.action != ""
}

approval_settled if not input.context.action in high_risk_actions

approval_settled if {
	is_string(input.context.annotation)
	regex.match(`^(?:.* )?APPROVAL-[0-9]{1,10}(?: .*)?$`, input.context.annotation)
}

deny contains {
	"id": "HR-01",
	"message": "the request does not say what it will do",
	"fix": "declare the `action`",
} if {
	not action_named
}

deny contains {
	"id": "HR-02",
	"message": "a high-risk action needs an annotation that names its approval",
	"fix": "get an approval and declare an `annotation` such as `restore orders APPROVAL-1234`",
} if {
	not approval_settled
}
