//! A job's run: what it gets, how it ends, what is told of it.

use serde_json::json;

use crate::support::Sandbox;

#[test]
fn a_job_gets_its_variables() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let ended = sandbox.shell("printf %s \"$API_KEY\"").success();
    assert_eq!(ended.stdout, "value-1");
    let job = sandbox.job(json!({"command": ["printenv", "API_KEY"]}));
    assert_eq!(sandbox.run(["run".as_ref(), job.as_os_str()]).success().stdout, "value-1\n");
}
