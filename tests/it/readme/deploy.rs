//! What `docker-compose.yml` and `deploy/` name is there, and their configuration loads.

use std::path::PathBuf;
use std::process::Command;

use super::scenario::copy;
use crate::harness::files::root;
use crate::harness::parts::program;
use crate::harness::process::tollgate;

#[test]
fn the_image_copies_only_what_exists_and_the_build_sees_it() {
    let recipe = std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let seen = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    let copies =
        recipe.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    let sources: Vec<&str> = copies.flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' ')).collect();
    assert!(sources.contains(&"src"), "{sources:?}");
    for source in sources {
        assert!(root().join(source).exists(), "the image copies {source}, which is not there");
        assert!(seen.lines().any(|line| line == format!("!{source}")), ".dockerignore hides {source}");
    }
}

#[test]
fn the_configuration_of_the_containers_loads() {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("deploy/config"), &folder.path().join("config"));
    copy(&root().join("policies"), &folder.path().join("policies"));
    let checked = tollgate()
        .args(["check", "--config"])
        .arg(folder.path().join("config"))
        // Any 32 bytes: nothing is sealed with them.
        .env("TOLLGATE_KEY_ENCRYPTION_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// Prints one mounted path per line; fails unless every other service shares Tollgate's network.
const READ: &str = "
import sys, yaml
services = yaml.safe_load(open(sys.argv[1]))['services']
for name, service in services.items():
    assert name == 'tollgate' or service['network_mode'] == 'service:tollgate', name
    tag = service['image'].rpartition(':')[2]
    assert tag and tag != 'latest', name
    for volume in service.get('volumes', []):
        if volume.startswith('./'):
            print(volume.split(':')[0])
for port in services['tollgate']['ports']:
    assert port.startswith('127.0.0.1:'), port
";

#[test]
fn containers_share_one_loopback_and_mount_what_exists() {
    let read =
        Command::new(program("python")).args(["-c", READ, "docker-compose.yml"]).current_dir(root()).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let mounted: Vec<PathBuf> =
        String::from_utf8(read.stdout).unwrap().lines().map(|path| root().join(path)).collect();
    assert!(mounted.len() >= 4, "{mounted:?}");
    for path in mounted {
        assert!(path.exists(), "{}", path.display());
    }
}

#[test]
fn prometheus_asks_where_tollgate_listens_for_operators() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let settings = read("deploy/config/tollgate.toml");
    let (_, listen) = settings.split_once("operations_listen = ").unwrap();
    assert!(read("deploy/prometheus.yml").contains(listen.lines().next().unwrap()));
}
