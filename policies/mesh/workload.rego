# Workload of a mesh: a service account of a namespace, as its SPIFFE ID names it.
#
# The names are as good as the mesh's own rules: whoever may make a service account takes any name that is free.
package mesh.workload

# Another trust domain, or a cluster's own tokens, may have namespaces of the same names.
meshes := {"spiffe://mesh.example.com"}

# Which role is for whom.
workloads := {"mesh/reports": {{"namespace": "shop", "service_account": "reports"}}}

default allow := false

allow if {
	input.operation == "mint"
	own_mesh
	named
}

own_mesh if input.identity.issuer in meshes

named if {
	workload := {"namespace": input.identity.namespace, "service_account": input.identity.service_account}
	workload in workloads[input.resource.role]
}

deny contains {
	"id": "MW-01",
	"message": "the identity is not one of our mesh",
	"fix": "show the certificate or the token that the mesh gives the workload",
} if {
	not own_mesh
}

deny contains {
	"id": "MW-02",
	"message": "the role is for other service accounts than this one",
	"fix": "let the policy name the service account and its namespace for this role",
} if {
	not named
}
