//! What values can and cannot do to a URL.

use proptest::prelude::*;

use super::*;

fn render(template: &str, value: &str) -> Result<String, RenderError> {
    let template = Template::parse(template).unwrap();
    template.render(|_| Some(value.to_owned())).map(|url| url.as_str().to_owned())
}

#[test]
fn a_value_is_one_segment_unless_the_template_says_path() {
    let segment = render("https://git.example/{repository}/commits", "acme/shop");
    assert_eq!(segment.unwrap(), "https://git.example/acme%2Fshop/commits");
    let path = render("https://git.example/{repository:path}/commits", "acme/shop");
    assert_eq!(path.unwrap(), "https://git.example/acme/shop/commits");
}

#[test]
fn a_value_cannot_add_a_parameter_fragment_or_host() {
    let hostile = "x?a=b&c=d#e@evil.example:1;%00 é'\\";
    assert_eq!(
        render("https://t.example/v1?id={declared.ticket}", hostile).unwrap(),
        "https://t.example/v1?id=x%3Fa%3Db%26c%3Dd%23e%40evil.example%3A1%3B%2500%20%C3%A9%27%5C"
    );
}

#[test]
fn a_value_cannot_climb_or_vanish() {
    for bad in ["", ".", "..", "a/..", "../a", "a/./b", "a\\..\\b", &"a".repeat(513)] {
        for template in ["https://h.example/{v}", "https://h.example/{v:path}", "https://h.example/?q={v}"] {
            assert_eq!(render(template, bad), Err(RenderError::BadValue), "{template} {bad:?}");
        }
    }
    for bad in ["/a", "a/", "a//b", "/"] {
        assert_eq!(render("https://h.example/{v:path}", bad), Err(RenderError::BadValue), "{bad:?}");
    }
    // Neither part is a dot segment, both together are.
    assert_eq!(render("https://h.example/.{v}", "%2e"), Ok("https://h.example/.%252e".into()));
    assert_eq!(render("https://h.example/a/{v}{v}/b", ".").unwrap_err(), RenderError::BadValue);
}

#[test]
fn a_url_that_grows_too_long_is_refused() {
    let template = format!("https://h.example/{}", "{v}".repeat(3));
    assert_eq!(render(&template, &"é".repeat(256)), Err(RenderError::BadUrl));
}

#[test]
fn a_missing_value_is_named() {
    let template = Template::parse("https://h.example/{commit}/{declared.ticket}").unwrap();
    assert_eq!(
        template.render(|_| None).unwrap_err().to_string(),
        "this identity has no `commit` to ask with"
    );
    let only_commit = template.render(|name| match name {
        Placeholder::Attribute(_) => Some("abc".into()),
        Placeholder::Declared(_) => None,
    });
    assert_eq!(only_commit.unwrap_err().to_string(), "the caller declared no `ticket` to ask with");
}

#[test]
fn i_01_a_placeholder_cannot_stand_in_the_host() {
    for bad in [
        "{host}/x",
        "https://{host}/x",
        "https://git.{host}/x",
        "https://git.example{host}/x",
        "https://git.example:{port}/x",
        "{scheme}://git.example/x",
        "git.example/{x}",
    ] {
        assert_eq!(Template::parse(bad), Err(InvalidTemplate::Host), "{bad}");
    }
}

#[test]
fn refuses_templates_that_read_differently_to_a_url_parser() {
    for bad in [
        "https://git.example\\/{x}",
        "https://git.example/a/../{x}",
        "https://git.example/%2e%2e/{x}",
        "https://GIT.example/{x}",
        "https://git.example:443/{x}",
        "https://user:pass@git.example/{x}",
        "https://git.example/{x}#y",
        "https://git.example/a b/{x}",
        "https:///{x}",
    ] {
        assert_eq!(Template::parse(bad), Err(InvalidTemplate::NotNormal), "{bad}");
    }
}

#[test]
fn refuses_braces_that_hold_no_name() {
    for bad in ["{}", "{A}", "{a", "a}", "{a.b}", "{declared.}", "{a:b}", "{{a}}", "{:path}"] {
        let template = format!("https://git.example/{bad}");
        let parsed = Template::parse(&template);
        assert!(matches!(parsed, Err(InvalidTemplate::Placeholder(_))), "{bad}");
    }
}

proptest! {
    #[test]
    fn whatever_the_value_host_and_shape_stay(value in "\\PC{0,40}") {
        if let Ok(url) = render("https://h.example/a/{v}/z?q={v}", &value) {
            let url = Url::parse(&url).unwrap();
            prop_assert_eq!(url.host_str(), Some("h.example"));
            prop_assert_eq!(url.path_segments().unwrap().count(), 3);
            prop_assert!(url.path().starts_with("/a/") && url.path().ends_with("/z"));
            let pairs: Vec<_> = url.query_pairs().collect();
            prop_assert_eq!(pairs.len(), 1);
            prop_assert_eq!(&*pairs[0].1, value.as_str());
        }
    }
}
