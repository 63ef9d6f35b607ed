//! The codes as people meet them. What each is on the wire is a snapshot beside `http::error`.

use std::collections::BTreeSet;

use tollgate::domain::Code;

use crate::harness::{Site, process};

#[test]
fn every_next_command_exists() {
    let commands: BTreeSet<_> = Code::ALL.iter().map(|code| code.explain().next).collect();
    for command in commands {
        let mut words: Vec<_> = command.split(' ').skip(1).filter(|word| *word != "DECISION").collect();
        if !words.contains(&"--help") {
            words.push("--help");
        }
        let done = process::run(&words);
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[tokio::test]
async fn an_answer_says_the_cause_and_the_fix_of_its_code() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for (path, code) in [("/nowhere", Code::NotFound), ("/v1/whoami", Code::TokenMissing)] {
        let answer = site.api().get(path, None).await;
        let explained = code.explain();
        assert_eq!(answer.code(), code.as_str());
        assert_eq!(answer.json["type"], format!("urn:tollgate:problem:{code}"));
        assert_eq!(
            (answer.json["title"].as_str(), answer.json["fix"].as_str()),
            (Some(explained.cause), Some(explained.fix))
        );
        assert_eq!(answer.json["next"], explained.next);
        assert_eq!(answer.json["status"], answer.status);
    }
    app.stop().await;
}
