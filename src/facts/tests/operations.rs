//! What an operation reaches, and what policy sees of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{caller, config, friday_night, gatherer, random_bytes, testing};
use crate::domain::{Code, DecisionId, Operation, OperationAsk, Refusal, Tenants};
use crate::facts::{OperationFacts, Origin};

fn ask(tenant: Option<&str>) -> OperationAsk {
    OperationAsk {
        operation: Operation::LeaseList,
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        filter: [("role", "deploy".to_owned())].into(),
        source_ip: Some("::ffff:10.1.2.3".parse().unwrap()),
    }
}

/// Gathers for a caller of the tenant `default`, on a server of the tenant `server`.
fn gather(server: &str, all_tenants: &[Operation], ask: &OperationAsk) -> Result<OperationFacts, Refusal> {
    let mut config = config(testing::role(), BTreeMap::new());
    config.settings.server.tenant = server.parse().unwrap();
    config.settings.operations.all_tenants = all_tenants.iter().copied().collect::<BTreeSet<_>>();
    let decision = DecisionId::new(0, &random_bytes().unwrap());
    gatherer(&config)
        .gather_operation(caller("token", friday_night()), ask, decision)
        .map_err(|failed| failed.refusal)
}

fn tenants(server: &str, all: &[Operation], tenant: Option<&str>) -> Result<Tenants, Code> {
    let gathered = gather(server, all, &ask(tenant));
    gathered.map(|facts| facts.tenants().clone()).map_err(|refusal| refusal.code)
}

#[test]
fn c_07_an_operation_reaches_the_callers_own_tenant_alone() {
    let own = Ok(Tenants::One("default".parse().unwrap()));
    let refused = Err(Code::NotAllowed);
    let all = [Operation::LeaseList];
    for (server, all) in [("other", &all[..]), ("default", &[]), ("default", &[Operation::AuditRead])] {
        assert_eq!(tenants(server, all, None), own, "{server} {all:?}");
        assert_eq!(tenants(server, all, Some("default")), own);
        assert_eq!(tenants(server, all, Some("bank")), refused);
    }
}

#[test]
fn an_identity_of_the_servers_tenant_reaches_all_where_the_settings_say_so() {
    let all = [Operation::LeaseList];
    assert_eq!(tenants("default", &all, None), Ok(Tenants::All));
    assert_eq!(tenants("default", &all, Some("bank")), Ok(Tenants::One("bank".parse().unwrap())));
}

#[test]
fn policy_sees_who_whose_and_when_and_nothing_that_is_unknown() {
    let facts = gather("default", &[], &ask(None)).unwrap();
    let seen: serde_json::Value = serde_json::from_str(facts.input_json()).unwrap();
    assert_eq!(seen["operation"], "lease.list");
    assert_eq!(seen["identity"]["principal"], "github:repository:1234");
    let resource = serde_json::json!({
        "tenant": "default", "all_tenants": false, "filter": { "role": "deploy" }
    });
    assert_eq!(seen["resource"], resource);
    let context = serde_json::json!({
        "time": "00:30", "weekday": "saturday", "timestamp": friday_night().to_string(), "source_ip": "10.1.2.3"
    });
    assert_eq!(seen["context"], context);
    assert_eq!(facts.origins().by_path()["resource.filter.role"], Origin::Declared);
    assert_eq!(facts.origins().by_path()["resource.tenant"], Origin::Server);

    let everybodys = gather("default", &[Operation::LeaseList], &ask(None)).unwrap();
    let seen: serde_json::Value = serde_json::from_str(everybodys.input_json()).unwrap();
    assert_eq!((seen["resource"].get("tenant"), &seen["resource"]["all_tenants"]), (None, &true.into()));
}
