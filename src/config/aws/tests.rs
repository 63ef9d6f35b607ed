use super::*;

#[test]
fn c_01_role_arns_are_checked_part_by_part() {
    assert_eq!(role_arn("arn:aws:iam::123456789012:role/deploy"), Ok("aws"));
    assert_eq!(role_arn("arn:aws-cn:iam::{account}:role/ci/{repository_id}-deploy"), Ok("aws-cn"));
    for (text, error) in [
        ("arn:aws:iam::123456789012:user/deploy", InvalidAws::RoleArn),
        ("arn:aws:s3::123456789012:role/deploy", InvalidAws::RoleArn),
        ("arn:aws:iam:eu-central-1:123456789012:role/deploy", InvalidAws::RoleArn),
        ("arn:aws:iam::123456789012", InvalidAws::RoleArn),
        ("{role_arn}", InvalidAws::RoleArn),
        ("arn:evil:iam::123456789012:role/deploy", InvalidAws::Partition),
        ("arn:{partition}:iam::123456789012:role/deploy", InvalidAws::Partition),
        ("arn:aws:iam::12345678901:role/deploy", InvalidAws::Account),
        ("arn:aws:iam::12345678901x:role/deploy", InvalidAws::Account),
        ("arn:aws:iam::1{account}:role/deploy", InvalidAws::Account),
        ("arn:aws:iam::{a}{b}:role/deploy", InvalidAws::Account),
        ("arn:aws:iam::*:role/deploy", InvalidAws::Account),
        ("arn:aws:iam::123456789012:role/../admin", InvalidAws::RolePath),
        ("arn:aws:iam::123456789012:role/a//b", InvalidAws::RolePath),
        ("arn:aws:iam::123456789012:role/", InvalidAws::RolePath),
        ("arn:aws:iam::123456789012:role/a*", InvalidAws::RolePath),
        ("arn:aws:iam::123456789012:role/a:b", InvalidAws::RolePath),
        ("arn:aws:iam::123456789012:role/a\n", InvalidAws::RolePath),
    ] {
        assert_eq!(role_arn(text), Err(error), "{text}");
    }
    assert!(matches!(role_arn("arn:aws:iam::{account:role/x"), Err(InvalidAws::Template(_))));
}

#[test]
fn actions_name_a_service() {
    for text in ["s3:GetObject", "s3:Get*", "execute-api:Invoke", "ec2:Describe?pc", "s3:*"] {
        assert_eq!(action(text), Ok(()), "{text}");
    }
    for text in ["*", "*:*", "s3", "s3:", ":Get", "S3:Get", "s3:Get Object", "s3:{a}", "s3:a:b", "s?:Get"] {
        assert_eq!(action(text), Err(InvalidAws::Action), "{text}");
    }
}

#[test]
fn c_02_resources_are_arns_without_policy_variables() {
    for text in
        ["*", "arn:aws:s3:::bucket/{repository_id}/*", "arn:aws:ecs:eu-central-1:123456789012:service/a/b"]
    {
        assert!(resource(text).is_ok(), "{text}");
    }
    assert_eq!(resource("arn:aws:s3:::home/${aws:username}"), Err(InvalidAws::Variable));
    for text in
        ["**", "bucket", "arn:aws:s3:::", "arn:evil:s3:::b", "arn:aws::::b", "arn:aws:s3:::b\u{e9}", ""]
    {
        assert_eq!(resource(text), Err(InvalidAws::Resource), "{text}");
    }
    assert!(matches!(resource("arn:aws:s3:::b/{"), Err(InvalidAws::Template(_))));
}

#[test]
fn managed_policies_are_full_arns() {
    assert_eq!(managed_policy("arn:aws:iam::aws:policy/ReadOnlyAccess"), Ok("aws"));
    assert_eq!(managed_policy("arn:aws-us-gov:iam::123456789012:policy/ci/x"), Ok("aws-us-gov"));
    for text in [
        "ReadOnlyAccess",
        "arn:aws:iam::aws:role/x",
        "arn:aws:iam::{a}:policy/x",
        "arn:aws:iam::aws:policy/",
        "arn:aws:iam::aws:policy/../x",
    ] {
        assert_eq!(managed_policy(text), Err(InvalidAws::Managed), "{text}");
    }
}

#[test]
fn tags_ids_and_regions_follow_their_grammar() {
    assert_eq!(tag_key("repository id"), Ok(()));
    assert_eq!(tag_key("AWS:x"), Err(InvalidAws::TagKey));
    assert_eq!(tag_key(""), Err(InvalidAws::TagKey));
    assert_eq!(external_id("a b"), Err(InvalidAws::ExternalId));
    assert_eq!(external_id("ab"), Ok(()));
    assert_eq!(partition_of_region("eu-central-1"), Ok("aws"));
    assert_eq!(partition_of_region("us-gov-west-1"), Ok("aws-us-gov"));
    assert_eq!(partition_of_region("cn-north-1"), Ok("aws-cn"));
    for text in ["", "eu", "eu-1", "eu-central", "EU-central-1", "evil.example/eu-central-1"] {
        assert_eq!(partition_of_region(text), Err(InvalidAws::Region), "{text}");
    }
}
