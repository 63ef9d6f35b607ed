//! One scenario: a copy of the checkout's configuration, an empty HOME, the built program on the PATH, and one shell that
//! runs the blocks in order.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tollgate::clock::Clock;

use super::blocks::{Block, Kind};
use crate::harness::parts::postgres::{self, Postgres};
use crate::harness::parts::{Part, program};
use crate::harness::site::free_port;
use crate::harness::{TrustDomain, Workload};

/// The password of the database's administrator.
const ADMINISTRATOR: &str = "sentinel-of-the-administrator";

/// A scenario to run.
pub(super) struct Scenario {
    name: &'static str,
    blocks: Vec<Block>,
    folder: TempDir,
    /// The ports that the README names, and those that stand in for them.
    ports: Vec<(&'static str, String)>,
    environment: Vec<(&'static str, String)>,
    servers: Vec<Part>,
    database: Option<Postgres>,
    agent: Option<Workload>,
}

/// A free port whose next one is free too.
fn two_ports() -> u16 {
    (0..100)
        .find_map(|_| {
            let first = TcpListener::bind(("127.0.0.1", 0)).ok()?;
            let port = first.local_addr().ok()?.port();
            TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok().map(|_| port)
        })
        .expect("no two free ports in a row")
}

impl Scenario {
    pub(super) fn new(name: &'static str, blocks: Vec<Block>) -> Self {
        let folder = tempfile::Builder::new().prefix("tollgate-readme-").tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for copied in ["config", "policies"] {
            copy(&root.join(copied), &folder.path().join("checkout").join(copied));
        }
        for made in ["bin", "home", "out"] {
            std::fs::create_dir(folder.path().join(made)).unwrap();
        }
        let bin = folder.path().join("bin");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tollgate"), bin.join("tollgate")).unwrap();
        // The test builds what it runs; of cargo's arguments only the program's are left.
        executable(
            &bin.join("cargo"),
            "[ \"$1 $2 $3\" = 'run --release --' ] && shift 3 && exec tollgate \"$@\"",
        );
        let (demo, broker) = (two_ports(), two_ports());
        let ports = [
            ("8420", demo),
            ("8421", demo + 1),
            ("8430", broker),
            ("8431", broker + 1),
            ("8432", free_port()),
        ];
        let ports = ports.map(|(shown, real)| (shown, real.to_string())).to_vec();
        let (environment, servers) = (Vec::new(), Vec::new());
        Self { name, blocks, folder, ports, environment, servers, database: None, agent: None }
    }

    /// The text of the file `path` that the README shows.
    pub(super) fn file(&self, path: &str) -> &str {
        let is_it = |block: &&Block| matches!(&block.kind, Kind::File { path: found, .. } if found == path);
        &self.blocks.iter().find(is_it).unwrap().text
    }

    /// Runs `script` after the README's blocks, without the sandbox's own source of tokens.
    pub(super) fn then(&mut self, script: &str) {
        let text = format!("unset TOLLGATE_TOKEN_FROM\n{script}\n");
        let kind = Kind::Run { scenario: self.name.to_owned(), status: 0, background: false };
        self.blocks.push(Block { kind, page: "after the guide", line: 0, text });
    }

    /// A server in place of AWS, and an administrator's keys for it.
    pub(super) fn start_aws(&mut self) {
        let port = two_ports();
        let mut command = Command::new(program("ministack"));
        command.envs([("AUTH", "true"), ("BIND_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0")]);
        self.serve(command.env("GATEWAY_PORT", port.to_string()), port, "/_ministack/health");
        self.put_on_the_path("aws", "aws");
        self.environment.extend([
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_DEFAULT_REGION", "eu-central-1".to_owned()),
        ]);
    }

    /// An `OpenBao` and its root token; its command line is Vault's.
    pub(super) fn start_vault(&mut self) {
        let port = two_ports();
        let mut command = Command::new(program("bao"));
        command.args(["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]);
        command.arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        self.serve(command.env("HOME", self.folder.path()), port, "/v1/secret/config");
        self.put_on_the_path("bao", "vault");
        let address = format!("http://127.0.0.1:{port}");
        self.environment.extend([("VAULT_ADDR", address), ("VAULT_TOKEN", "root".to_owned())]);
    }

    /// An empty PostgreSQL with its administrator, its clients, and SQLite's client, which not every machine has.
    pub(super) fn start_postgres(&mut self) {
        let server = Postgres::start();
        // The guide makes the role `tollgate`, which is the first one's name here.
        server.sql("postgres", &format!("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{ADMINISTRATOR}'"));
        server.sql("postgres", "SET SESSION AUTHORIZATION postgres; ALTER ROLE tollgate RENAME TO first");
        let bin = self.folder.path().join("bin");
        for client in ["psql", "pg_dump", "pg_restore"] {
            executable(&bin.join(client), &client_line(client));
        }
        let python = program("python");
        let statement = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])";
        executable(&bin.join("sqlite3"), &format!("exec {} -c '{statement}' \"$@\"", python.display()));
        self.environment.extend([
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", server.port.to_string()),
            ("PGUSER", "postgres".to_owned()),
            ("PGPASSWORD", ADMINISTRATOR.to_owned()),
        ]);
        self.ports.push(("5432", server.port.to_string()));
        self.database = Some(server);
    }

    /// A SPIFFE agent with an identity for the guide's workload, and one for Tollgate.
    pub(super) fn start_agent(&mut self) {
        let (domain, now) = (TrustDomain::new("acme.example"), Clock::system().now());
        let mut state = domain.workload("/ns/shop/sa/deployer", now);
        let own = domain.x509_entry(&domain.x509("/tollgate", now));
        state["x509"].as_array_mut().unwrap().push(own);
        let agent = Workload::start(&state);
        self.environment.push(("SPIFFE_ENDPOINT_SOCKET", agent.socket()));
        self.agent = Some(agent);
    }

    fn serve(&mut self, command: &mut Command, port: u16, path: &str) {
        self.servers.push(Part::spawn(command));
        for _ in 0..1000 {
            if answers(port, path) {
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("{command:?} does not answer");
    }

    fn put_on_the_path(&self, name: &str, as_name: &str) {
        std::os::unix::fs::symlink(program(name), self.folder.path().join("bin").join(as_name)).unwrap();
    }

    /// A runner that gives each job of GitHub Actions a token, signed by the demo's issuer.
    pub(super) fn start_github_runner(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let issuer = format!("http://127.0.0.1:{}", self.ports[1].1);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut request, mut buffer) = (String::new(), [0; 4096]);
                while !request.contains("\r\n\r\n") {
                    let read = stream.read(&mut buffer).unwrap();
                    request.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                assert!(
                    request.to_ascii_lowercase().contains("authorization: bearer runner-proof"),
                    "{request}"
                );
                let path = request.split(' ').nth(1).unwrap();
                let url = url::Url::parse(&format!("http://runner{path}")).unwrap();
                let (_, audience) = url.query_pairs().find(|(name, _)| name == "audience").unwrap();
                let token = Command::new(env!("CARGO_BIN_EXE_tollgate"))
                    .args(["demo", "token", "--issuer", &issuer, "--audience", &audience])
                    .output()
                    .unwrap();
                let token = String::from_utf8(token.stdout).unwrap();
                let body = serde_json::json!({ "count": 1, "value": token.trim() }).to_string();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        self.environment.extend([
            ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-proof".to_owned()),
            ("GITHUB_REPOSITORY_ID", "70107786".to_owned()),
        ]);
    }

    /// Runs every block; panics with the line and what it printed when one goes otherwise than the README says.
    pub(super) fn run(self) {
        let out = self.folder.path().join("out");
        let path = format!("{}:{}", self.folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        // A loop of the guide that waits in vain must not wait for ever.
        let done = Command::new("timeout")
            .args(["900", "bash", "-c", &self.script()])
            .current_dir(self.folder.path().join("checkout"))
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path().join("home"))
            .env("OUT", &out)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = |index: usize| std::fs::read_to_string(out.join(index.to_string())).unwrap_or_default();
        if !done.status.success() {
            let at: usize = std::fs::read_to_string(out.join("at")).unwrap().trim().parse().unwrap();
            let Block { page, line, text, .. } = &self.blocks[at];
            let shell = String::from_utf8_lossy(&done.stderr);
            panic!("{page}:{line}: {}\n{text}\nprinted:\n{}\n{shell}", done.status, printed(at));
        }
        let mut before = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            match &block.kind {
                Kind::Run { .. } => before = index,
                Kind::Output { .. } => expect(block, &self.adapted(&block.text), &printed(before)),
                Kind::File { .. } | Kind::NotRun(_) | Kind::Drawing => {}
            }
        }
    }

    fn adapted(&self, text: &str) -> String {
        // By way of marks: a real port may hold the digits of one that is shown.
        let mark = |index: usize| format!("\u{1}{index}\u{1}");
        let shown = self.ports.iter().enumerate();
        let marked = shown.fold(text.to_owned(), |text, (index, (port, _))| text.replace(port, &mark(index)));
        let real = self.ports.iter().enumerate();
        real.fold(marked, |text, (index, (_, port))| text.replace(&mark(index), port))
    }

    /// The blocks as one script. Files `$OUT/N` hold what block N printed, `$OUT/at` the one that runs.
    fn script(&self) -> String {
        let mut script = String::from("set -eu\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n");
        for (index, block) in self.blocks.iter().enumerate() {
            let text = self.adapted(&block.text);
            let text = text.trim_end();
            let (begin, end) = (format!("echo {index} > \"$OUT/at\"\n"), format!("> \"$OUT/{index}\" 2>&1"));
            let step = match &block.kind {
                Kind::Run { background: true, .. } => {
                    // Two scenarios at once cannot share the demo's port.
                    let port = &self.ports[0].1;
                    let port = if text.ends_with("demo") { format!(" --port {port}") } else { String::new() };
                    format!(
                        "( exec {text}{port} ) {end} &\nSERVER=$!\n\
                         until grep -qE 'listening on|Running at' \"$OUT/{index}\"; do kill -0 $SERVER; sleep 0.05; done"
                    )
                }
                Kind::Run { status: 0, .. } => format!("{{\n{text}\n}} {end}"),
                Kind::Run { status, .. } => {
                    format!("set +e; ( set -e\n{text}\n) {end}\nended=$?; set -e; [ $ended = {status} ]")
                }
                Kind::File { path, .. } => {
                    format!(
                        "mkdir -p \"$(dirname {path})\"\ncat > {path} <<'END OF FILE'\n{text}\nEND OF FILE"
                    )
                }
                Kind::Output { .. } | Kind::NotRun(_) | Kind::Drawing => continue,
            };
            // Writing to a String cannot fail.
            let _ = writeln!(script, "{begin}{step}");
        }
        script
    }
}

/// Each line of `expected` is part of a line of `printed`; `…` is anything.
fn expect(block: &Block, expected: &str, printed: &str) {
    let Block { page, line, .. } = block;
    for wanted in expected.lines() {
        let fits = |line: &str| {
            let mut rest = Some(line);
            for piece in wanted.split('…') {
                rest = rest.and_then(|rest| rest.split_once(piece)).map(|(_, after)| after);
            }
            rest.is_some()
        };
        assert!(printed.lines().any(fits), "{page}:{line}: {wanted:?} is not in\n{printed}");
    }
}

/// True if a `GET` is answered at all, and not by an error of the server.
fn answers(port: u16, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-vault-token: root\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// Runs a client of the database, of the server's version.
fn client_line(name: &str) -> String {
    let path = postgres::program(name);
    let command = postgres::command(&path);
    let variables = command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
    let set =
        variables.map(|(name, value)| format!("export {name}='{value}'; ")).collect::<Vec<_>>().concat();
    format!("{set}exec {} \"$@\"", path.display())
}

fn executable(path: &Path, line: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
