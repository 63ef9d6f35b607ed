//! What CI platforms would run of the README's definitions.

use std::io::Write;
use std::process::Command;

use crate::harness::parts::program;

/// Prints one command per line, as JSON text.
const READ: &str = "
import json, shlex, sys, yaml
kind, path = sys.argv[1:]
definition = yaml.safe_load(open(path))
if kind == 'github':
    # YAML 1.1 reads the key `on` as true.
    assert definition['permissions']['id-token'] == 'write' and True in definition
    found = [step['run'] for job in definition['jobs'].values() for step in job['steps'] if 'run' in step]
elif kind == 'gitlab':
    assert all(job['id_tokens']['TOLLGATE_ID_TOKEN']['aud'] for job in definition.values())
    found = [line for job in definition.values() for line in job['script']]
else:
    pod = definition['spec']
    [mount] = pod['containers'][0]['volumeMounts']
    [source] = pod['volumes'][0]['projected']['sources']
    token = source['serviceAccountToken']
    assert mount['mountPath'] + '/' + token['path'] == '/var/run/secrets/tollgate/token' and token['audience']
    found = [shlex.join(pod['containers'][0]['command'])]
for command in found:
    print(json.dumps(command))
";

/// The commands of `definition`.
pub(super) fn commands(definition: &str, kind: &str) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(definition.as_bytes()).unwrap();
    let read = Command::new(program("python")).args(["-c", READ, kind]).arg(file.path()).output().unwrap();
    assert!(read.status.success(), "{kind}: {}", String::from_utf8_lossy(&read.stderr));
    let lines = String::from_utf8(read.stdout).unwrap();
    let commands: Vec<String> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!commands.is_empty(), "{kind} runs nothing");
    commands
}
