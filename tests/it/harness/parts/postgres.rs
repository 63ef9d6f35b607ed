//! A real PostgreSQL server, made new in a temporary folder, with every commit synced. Shared by the unit tests.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// `nobody`: PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;

/// Ends the server and removes its folder when the test process ends, in whatever way: its standard input closes then.
const WATCH: &str = r#"folder=$1; shift; cat > /dev/null; "$@" > /dev/null 2>&1; rm -rf "$folder""#;

/// The password of the one role, `tollgate`.
const PASSWORD: &str = "sentinel-of-the-database";

/// A running server.
pub(crate) struct Postgres {
    folder: PathBuf,
    pub(crate) data: PathBuf,
    enter: Vec<String>,
    pub(crate) port: u16,
    options: String,
    databases: AtomicU32,
    watch: Child,
}

impl Postgres {
    /// Makes and starts one.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Makes and starts one with `more` options, such as `-c fsync=off`.
    pub(crate) fn with(more: &str) -> Self {
        Self::within(more, None, Vec::new())
    }

    /// Makes and starts one whose tables lie in `data` instead of its own folder; `enter` begins the commands that see it.
    /// The log of what is to be written to them stays in its folder.
    pub(crate) fn within(more: &str, data: Option<PathBuf>, enter: Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("tollgate-pg").tempdir().unwrap().keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.join("s");
        std::fs::create_dir(&home).unwrap();
        Self::give(&home);
        std::fs::write(folder.join("password"), PASSWORD).unwrap();
        let data = data.unwrap_or_else(|| home.join("data"));
        let mut initdb = unprivileged(&enter, &program("initdb"));
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(folder.join("password"));
        initdb.arg("--waldir").arg(home.join("wal"));
        done(initdb.args([
            "-U",
            "tollgate",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c max_connections=300 -c jit=off -k {} {more}",
            home.display()
        );
        let mut stop = unprivileged(&enter, &program("pg_ctl"));
        stop.arg("-D").arg(&data).args(["-m", "immediate", "-w", "stop"]);
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "watch"]).arg(&folder).arg(stop.get_program()).args(stop.get_args());
        let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { folder, data, enter, port, options, databases: AtomicU32::new(0), watch };
        server.start_again();
        server
    }

    /// Makes a file or folder the server's own.
    pub(crate) fn give(path: &Path) {
        if is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// Starts it after [`Self::stop_at_once`].
    pub(crate) fn start_again(&self) {
        let mut start = self.control();
        start.arg("-l").arg(self.folder.join("s/log")).args(["-w", "-o", &self.options, "start"]);
        let started = start.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        let log = || std::fs::read_to_string(self.folder.join("s/log")).unwrap_or_default();
        assert!(started.success(), "PostgreSQL does not start:\n{}", log());
    }

    /// Ends it as a power cut would.
    pub(crate) fn stop_at_once(&self) {
        done(self.control().args(["-m", "immediate", "-w", "stop"]));
    }

    fn control(&self) -> Command {
        let mut command = unprivileged(&self.enter, &program("pg_ctl"));
        command.arg("-D").arg(&self.data);
        command
    }

    /// A new database; returns its name.
    pub(crate) fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The URL of a database, with the password.
    pub(crate) fn url(&self, database: &str) -> String {
        Self::url_at(self.port, database)
    }

    /// The URL of a database that is reached through `port`.
    pub(crate) fn url_at(port: u16, database: &str) -> String {
        format!("postgres://tollgate:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// Runs SQL statements, in one transaction unless they say otherwise; returns the values of the last one's rows.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Vec<String> {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// The same, with what went wrong.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> Output {
        let mut psql = command(&program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "tollgate"]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]).env("PGPASSWORD", PASSWORD);
        psql.stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// Where `tests/run` unpacks a server on a machine that has none.
fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts/debian")
}

/// A program of PostgreSQL's: of the newest version that is installed, or the unpacked one.
pub(crate) fn program(name: &str) -> PathBuf {
    let installed = [unpacked().join("usr/lib/postgresql"), PathBuf::from("/usr/lib/postgresql")];
    let versioned = installed.into_iter().flat_map(|versions| {
        let versions = std::fs::read_dir(versions).into_iter().flatten().flatten();
        let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
        folders.sort();
        folders
    });
    // What is on the search path may be a wrapper without a server behind it, so it comes last.
    let searched = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&searched).chain(versioned).collect();
    let found = folders.iter().rev().map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run tests/run once, which installs it"))
}

/// Runs `program`; an unpacked one with the libraries that were unpacked with it.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    with_libraries(&mut command, program);
    command
}

fn with_libraries(command: &mut Command, program: &Path) {
    if program.starts_with(unpacked()) {
        let folders = ["usr/lib", "lib"].map(|folder| unpacked().join(folder));
        let folders = folders.map(|folder| folder.join(format!("{}-linux-gnu", std::env::consts::ARCH)));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap());
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// `program`, as a user that PostgreSQL runs as, where the words of `enter` lead.
fn unprivileged(enter: &[String], program: &Path) -> Command {
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
    let user = std::iter::once("setpriv".to_owned()).chain(user).filter(|_| is_root());
    let mut words = enter.iter().cloned().chain(user).map(OsString::from).chain([program.into()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    with_libraries(&mut command, program);
    command.args(words).current_dir("/");
    command
}

fn done(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
