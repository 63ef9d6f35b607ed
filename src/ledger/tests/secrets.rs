//! No token, credential, lease secret or handle in the store's files.

use crate::ledger::testing::{Bench, SENTINEL_CREDENTIAL};

#[tokio::test]
async fn s_01_no_secret_bytes_reach_the_files() {
    let bench = Bench::with(|settings| {
        settings.events_file = settings.place.file().map(|file| file.with_file_name("events.jsonl"));
    });
    let token = "sentinel-token-098f6bcd4621d373cade4e832627b4f6";
    let key = "sentinel-key-5ebe2294ecd0e0f08eab7690d2a6ee69";
    let auth = bench.ledger.authorise(bench.planned(token, Some(key))).await.unwrap();
    let jti = match auth.handle() {
        crate::domain::Handle::Jwt { jti } => format!("\"jti\":\"{jti}\""),
        other => panic!("{other:?}"),
    };
    let lease = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    let secret = lease.secret().expose().to_owned();
    bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    let folder = bench.file().parent().unwrap().to_owned();
    // Once with the WAL in place, once after the last connection has folded it into the file.
    let mut bench = Some(bench);
    for closed in [false, true] {
        if closed {
            bench = bench.take().map(Bench::restart);
        }
        let mut searched = 0;
        for file in std::fs::read_dir(&folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            searched += bytes.len();
            for sentinel in [token, key, SENTINEL_CREDENTIAL, secret.as_str(), jti.as_str()] {
                let found = bytes.windows(sentinel.len()).any(|window| window == sentinel.as_bytes());
                assert!(!found, "{sentinel}");
            }
        }
        assert!(searched > 10_000, "the files were searched");
    }
}
