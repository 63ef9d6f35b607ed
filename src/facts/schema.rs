//! The JSON Schema of the policy input, generated from its types so that it cannot drift from them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{Input, OperationInput};

/// Names this version of the contract. A URN, because nothing needs to be fetched to use it (RFC 8141).
const SCHEMA_ID: &str = "urn:tollgate:policy-input:1";

/// The same for operations that no role decides.
const OPERATION_SCHEMA_ID: &str = "urn:tollgate:operation-input:1";

/// The JSON Schema (draft 2020-12) of what a policy of a role sees as `input`.
pub fn input_schema() -> Value {
    schema_of::<Input>(SCHEMA_ID)
}

/// The JSON Schema (draft 2020-12) of what a policy of `[operations]` sees as `input`.
pub fn operation_schema() -> Value {
    schema_of::<OperationInput>(OPERATION_SCHEMA_ID)
}

fn schema_of<T: JsonSchema>(id: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), id.into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::config::attributes::{RESERVED_IDENTITY_KEYS, RESERVED_RUNNER_KEYS, RUNNER_TEXT_KEYS};
    use crate::config::origin::{OPERATION_RESOURCE_KEYS, RESOURCE_KEYS, SERVER_KEYS};
    use crate::facts::RunnerInput;
    use crate::facts::testing::plain_facts;

    /// Follows a `$ref` into `$defs`.
    fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(pointer) => root.pointer(pointer.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// Every key of `value` is described, every required key is there, and nothing may be null.
    fn fits(root: &Value, schema: &Value, value: &Value, path: &str) {
        let schema = resolve(root, schema);
        assert!(!value.is_null(), "{path} is null");
        let Some(object) = value.as_object() else { return };
        let open = schema.get("additionalProperties").is_some_and(|more| *more != json!(false));
        for (key, inner) in object {
            match schema.get("properties").and_then(|known| known.get(key)) {
                Some(known) => fits(root, known, inner, &format!("{path}.{key}")),
                None => assert!(open || schema == &json!(true), "{path}.{key} is not in the schema"),
            }
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(object.contains_key(required.as_str().unwrap()), "{path}.{required} is missing");
        }
    }

    fn keys(schema: &Value) -> Vec<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn names_itself_and_every_part_of_the_input() {
        let schema = input_schema();
        assert_eq!(schema["$id"], SCHEMA_ID);
        assert_eq!(keys(&schema), ["operation", "identity", "runner", "resource", "context", "declared"]);
        assert_eq!(schema["required"], json!(["operation", "identity", "resource", "context", "declared"]));
    }

    #[test]
    fn a_real_input_fits() {
        let schema = input_schema();
        let mut input = plain_facts("token", Timestamp::UNIX_EPOCH).input().clone();
        fits(&schema, &schema, &serde_json::to_value(&input).unwrap(), "input");
        input.runner = Some(RunnerInput {
            id: "r1".into(),
            issuer: "https://cluster.example".into(),
            kind: "kubernetes".into(),
            principal: "kubernetes:runners:serviceaccount:1".into(),
            spiffe_id: None,
            region: None,
            pool: Some("deploy".into()),
            tenant: "default".into(),
            attributes: [("node".to_owned(), json!("n1"))].into(),
        });
        fits(&schema, &schema, &serde_json::to_value(&input).unwrap(), "input");
    }

    #[test]
    fn p_13_no_key_may_be_null() {
        fn visit(schema: &Value, path: &str) {
            if let Some(kinds) = schema["type"].as_array() {
                assert!(!kinds.contains(&json!("null")), "{path} may be null");
            }
            if let Some(any) = schema["anyOf"].as_array() {
                assert!(!any.iter().any(|one| one["type"] == "null"), "{path} may be null");
            }
            for group in ["properties", "$defs"] {
                for (key, inner) in schema[group].as_object().into_iter().flatten() {
                    visit(inner, &format!("{path}.{key}"));
                }
            }
        }
        visit(&input_schema(), "input");
        visit(&operation_schema(), "input");
    }

    #[test]
    fn every_key_is_described() {
        for schema in [input_schema(), operation_schema()] {
            for (name, part) in schema["$defs"].as_object().unwrap() {
                for (key, described) in part["properties"].as_object().into_iter().flatten() {
                    assert!(described["description"].is_string(), "{name}.{key}");
                }
            }
        }
    }

    #[test]
    fn reserved_names_are_those_that_the_types_fix() {
        let schema = input_schema();
        let sorted = |names: &[&'static str]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        let fixed = |part: &str| {
            let mut names = keys(&schema["$defs"][part]);
            names.sort_unstable();
            names.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(fixed("IdentityInput"), sorted(RESERVED_IDENTITY_KEYS));
        assert_eq!(fixed("RunnerInput"), sorted(&[RESERVED_RUNNER_KEYS, RUNNER_TEXT_KEYS].concat()));
        assert_eq!(fixed("Context"), sorted(SERVER_KEYS));
        assert_eq!(fixed("Resource"), sorted(RESOURCE_KEYS));
        let operation = operation_schema();
        let mut names = keys(&operation["$defs"]["OperationResource"]);
        names.sort_unstable();
        assert_eq!(names, sorted(OPERATION_RESOURCE_KEYS));
    }
}
