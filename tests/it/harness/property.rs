//! Properties of the whole: one running Tollgate answers every generated case.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::Site;

/// Checks `case` on generated `inputs` against a Tollgate that runs on `site`; panics with the smallest input that fails.
pub(crate) fn holds<S: Strategy>(
    site: impl Future<Output = Site>,
    inputs: &S,
    case: &impl AsyncFn(&Site, S::Value) -> TestCaseResult,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (site, app) = runtime.block_on(async {
        let site = site.await;
        site.write("config/tollgate.toml", &site.settings("[limits]\nexchanges_per_minute = 10000"));
        let app = site.start().await;
        (site, app)
    });
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let held = runner.run(inputs, |input| runtime.block_on(case(&site, input)));
    runtime.block_on(app.stop());
    held.unwrap();
}
