//! Packages that `packaging/` makes of the built program: systemd units, a Debian package, and a
//! release for `install.sh`.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{Node, TempDir, program, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_skydht");

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .canonicalize()
        .unwrap()
}

fn is_there(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(tool).is_file())
}

/// Runs a command to its end.
fn output(command: &mut Command) -> (bool, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (status.success(), text(&stdout), text(&stderr))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let (ok, stdout, stderr) = output(command);
    assert!(ok, "{command:?}\n{stdout}\n{stderr}");
    stdout
}

/// Returns the units, with the path of the program replaced.
fn units(home: &TempDir) -> Vec<PathBuf> {
    let mut units = Vec::new();
    for entry in fs::read_dir(packaging().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("ExecStart=/usr/bin/skydht "),
            "{}",
            path.display()
        );
        let copy = home.path().join(path.file_name().unwrap());
        fs::write(&copy, text.replace("/usr/bin/skydht", PROGRAM)).unwrap();
        units.push(copy);
    }
    assert!(units.len() >= 3, "{units:?}");
    units
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() {
    if !is_there("systemd-analyze") {
        return;
    }
    let home = TempDir::new();
    for unit in units(&home) {
        let mut verify = Command::new("systemd-analyze");
        let (ok, stdout, stderr) = output(verify.args(["verify", "--man=no"]).arg(&unit));
        let name = unit.file_name().unwrap().to_str().unwrap();
        // systemd reports an unknown key only as a warning. Messages about other units are ignored.
        let complaints = stderr.lines().filter(|line| line.contains(name));
        let complaints: Vec<&str> = complaints.collect();
        assert!(ok && complaints.is_empty(), "{stdout}\n{stderr}");
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--threshold=15", "--no-pager"]);
        let (ok, stdout, stderr) = output(security.arg(&unit));
        let is_known = !stderr.contains("unrecognized option");
        assert!(ok || !is_known, "{stdout}\n{stderr}");
    }
}

#[test]
fn units_run_commands_and_configurations_that_there_are() {
    let home = TempDir::new();
    for unit in units(&home) {
        let text = fs::read_to_string(&unit).unwrap();
        let of = |key: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {key} in {text}"))
                .to_owned()
        };
        let (_, source) = of("LoadCredential")
            .split_once(':')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let name = Path::new(&source).file_name().unwrap();
        let config = packaging().join("config").join(name);
        let mut command = program(&home);
        command.args(["config", "check", "--config"]).arg(&config);
        command.args(["--state-dir", &home.join("state")]);
        let checked = support::finish(&mut command, b"");
        assert_eq!(checked.code, Some(0), "{}: {checked:?}", config.display());
        // The unit must start an existing command with existing options.
        let line = of("ExecStart").replace("%d/config.json", config.to_str().unwrap());
        let line = line.replace("%S", &home.join("state"));
        let mut words: Vec<&str> = line.split(' ').skip(1).collect();
        words.push("--help");
        run(&home, &words).exits(0);
        assert_eq!(of("Type"), "notify");
        assert_eq!(of("DynamicUser"), "yes");
    }
}

#[test]
fn the_debian_package_has_all_that_it_installs() {
    if !is_there("dpkg-deb") {
        return;
    }
    let home = TempDir::new();
    let build = |out: &str| {
        let mut build = Command::new(packaging().join("build-deb"));
        build.args([PROGRAM, &home.join(out)]);
        // Compression is omitted, because a program with symbols is large.
        build
            .env("DEB_OPTIONS", "-Znone")
            .env("SOURCE_DATE_EPOCH", "1767225600");
        succeeds(&mut build);
        let mut made = fs::read_dir(home.join(out)).unwrap();
        let deb = made.next().unwrap().unwrap().path();
        assert!(made.next().is_none());
        deb
    };
    let deb = build("one");
    let field = |name: &str| {
        let mut show = Command::new("dpkg-deb");
        succeeds(show.arg("--field").arg(&deb).arg(name))
            .trim()
            .to_owned()
    };
    assert_eq!(field("Package"), "skydht");
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    let depends = field("Depends");
    let libc = depends
        .strip_prefix("libc6 (>= 2.")
        .and_then(|rest| rest.split_once(')'));
    assert!(
        libc.is_some_and(|(minor, _)| minor.parse::<u32>().is_ok()),
        "{depends}"
    );

    let (files, control) = (home.join("files"), home.join("control"));
    succeeds(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&files));
    succeeds(Command::new("dpkg-deb").arg("-e").arg(&deb).arg(&control));
    let listed = succeeds(Command::new("dpkg-deb").arg("-c").arg(&deb));
    for line in listed.lines() {
        assert!(line.contains(" root/root "), "{line}");
        let writable = line.as_bytes()[5] == b'w' || line.as_bytes()[8] == b'w';
        assert!(!writable, "others may write: {line}");
    }
    let files = Path::new(&files);
    let mode = |path: &str| fs::metadata(files.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("usr/bin/skydht"), 0o755);
    assert_eq!(
        mode("etc/skydht/config.json"),
        0o640,
        "it may come to hold a password"
    );
    let described: BTreeSet<String> = support::commands::commands(&home)
        .iter()
        .map(|command| format!("skydht-{}.1.gz", command.words.join("-")))
        .collect();
    for page in &described {
        assert!(
            files.join("usr/share/man/man1").join(page).is_file(),
            "{page}"
        );
    }
    for path in [
        "usr/share/man/man1/skydht.1.gz",
        "usr/share/bash-completion/completions/skydht",
        "usr/share/zsh/vendor-completions/_skydht",
        "usr/share/fish/vendor_completions.d/skydht.fish",
        "usr/lib/systemd/system/skydht.service",
        "usr/lib/systemd/system/skydht-dmsg-server.service",
        "usr/lib/systemd/system/skydht-gateway.service",
        "usr/share/doc/skydht/copyright",
    ] {
        let length = fs::metadata(files.join(path)).map_or(0, |metadata| metadata.len());
        assert!(length > 200, "{path}: {length}");
    }
    let conffiles = fs::read_to_string(format!("{control}/conffiles")).unwrap();
    let configured: BTreeSet<&str> = conffiles.lines().collect();
    let installed: Vec<String> = fs::read_dir(files.join("etc/skydht"))
        .unwrap()
        .map(|entry| format!("/etc/skydht/{}", entry.unwrap().file_name().display()))
        .collect();
    assert_eq!(configured, installed.iter().map(String::as_str).collect());
    for script in ["postinst", "prerm", "postrm"] {
        succeeds(
            Command::new("sh")
                .arg("-n")
                .arg(format!("{control}/{script}")),
        );
    }
    // Without systemd, as in a container, the scripts do not call it.
    if !Path::new("/run/systemd/system").exists() {
        succeeds(
            Command::new("sh")
                .arg(format!("{control}/postinst"))
                .arg("configure"),
        );
        succeeds(
            Command::new("sh")
                .arg(format!("{control}/prerm"))
                .arg("remove"),
        );
        succeeds(
            Command::new("sh")
                .arg(format!("{control}/postrm"))
                .arg("remove"),
        );
    }
    let again = build("two");
    assert!(
        fs::read(deb).unwrap() == fs::read(again).unwrap(),
        "built twice, it differs"
    );
}

/// Serves a directory over HTTP for the duration of the test.
fn serve(dir: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .for_each(drop);
            let name = first
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .trim_start_matches('/');
            let (status, body) = match fs::read(dir.join(name)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            // An error means that the client has closed the connection early.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
        }
    });
    addr
}

#[test]
fn a_release_is_installed_only_if_it_is_what_its_sums_name() {
    if !is_there("curl") && !is_there("wget") {
        return;
    }
    let home = TempDir::new();
    let release = home.path().join("release");
    let mut build = Command::new(packaging().join("build-release"));
    build.arg(PROGRAM).arg(&release);
    build.env("DEB_OPTIONS", "-Znone").env("GZIP_LEVEL", "-1");
    succeeds(&mut build);
    let url = format!("http://{}", serve(&release));
    let prefix = home.path().join("prefix");
    let install = || {
        // The script is read from a pipe, as in the documented command.
        let mut install = Command::new("sh");
        install.stdin(fs::File::open(release.join("install.sh")).unwrap());
        install
            .env("SKYDHT_RELEASE", &url)
            .env("SKYDHT_PREFIX", &prefix);
        install.env("TMPDIR", home.path()).env_remove("http_proxy");
        output(&mut install)
    };
    let installed = prefix.join("bin/skydht");

    let sums = fs::read_to_string(release.join("SHA256SUMS")).unwrap();
    let archive = sums
        .lines()
        .find_map(|line| line.split_whitespace().nth(1))
        .unwrap();
    let archive = release.join(archive);
    let whole = fs::read(&archive).unwrap();
    // Changed bytes, missing bytes, an empty file; checksums without the file; no server files.
    let mut other = whole.clone();
    other[whole.len() / 2] ^= 1;
    for wrong in [&other[..], &whole[..whole.len() - 1], b""] {
        fs::write(&archive, wrong).unwrap();
        let (ok, _, stderr) = install();
        assert!(
            !ok && stderr.contains("is not what SHA256SUMS names"),
            "{stderr}"
        );
        assert!(!prefix.exists());
    }
    fs::write(&archive, &whole).unwrap();
    fs::write(release.join("SHA256SUMS"), "00  other.tar.gz\n").unwrap();
    let (ok, _, stderr) = install();
    assert!(
        !ok && stderr.contains("nothing for this machine"),
        "{stderr}"
    );
    fs::remove_file(release.join("SHA256SUMS")).unwrap();
    let (ok, _, stderr) = install();
    assert!(!ok && stderr.contains("cannot fetch"), "{stderr}");
    assert!(!prefix.exists());

    fs::write(release.join("SHA256SUMS"), sums).unwrap();
    for round in 0..2 {
        let (ok, stdout, stderr) = install();
        assert!(ok, "{round}: {stdout}\n{stderr}");
        assert!(stdout.contains("next: skydht demo"), "{stdout}");
        let version = succeeds(Command::new(&installed).arg("version"));
        assert_eq!(version, format!("skydht {}\n", env!("CARGO_PKG_VERSION")));
    }
    assert!(prefix.join("share/man/man1/skydht-run.1").is_file());
    assert!(
        prefix
            .join("share/bash-completion/completions/skydht")
            .is_file()
    );
    let left = fs::read_dir(prefix.join("bin")).unwrap().count();
    assert_eq!(left, 1, "no files besides the program");
    // A truncated script does nothing.
    let script = fs::read_to_string(release.join("install.sh")).unwrap();
    fs::remove_dir_all(&prefix).unwrap();
    for part in 1..20 {
        let end = (0..=script.len() * part / 20)
            .rev()
            .find(|end| script.is_char_boundary(*end));
        let cut = home.join("cut.sh");
        fs::write(&cut, &script[..end.unwrap()]).unwrap();
        let mut install = Command::new("sh");
        install
            .arg(&cut)
            .env("SKYDHT_RELEASE", &url)
            .env("SKYDHT_PREFIX", &prefix);
        output(&mut install);
        assert!(!prefix.exists(), "{part} of 20");
    }
}

#[test]
fn the_container_file_copies_what_there_is() {
    let text = fs::read_to_string(packaging().join("Containerfile")).unwrap();
    let minimum = fs::read_to_string(packaging().join("../Cargo.toml")).unwrap();
    let minimum = minimum
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let minimum = minimum.unwrap().trim_matches('"');
    assert!(
        text.contains(&format!("rust:{minimum}-")),
        "not the oldest Rust that is taken"
    );
    let home = TempDir::new();
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("CMD "))
        .unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    let health = text
        .lines()
        .find_map(|line| line.split_once(" CMD "))
        .unwrap()
        .1;
    let health: Vec<String> = serde_json::from_str(health).unwrap();
    for words in [&words[..], &health[1..]] {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push("--help");
        run(&home, &words).exits(0);
    }
    let state = home.join("state");
    let mut command = program(&home);
    command.args(&words).args([
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--json",
    ]);
    command.env("SKYDHT_STATE_DIR", &state);
    let node = Node::spawn(command, "container", state.clone());
    let mut command = program(&home);
    command.args(&health[1..]).env("SKYDHT_STATE_DIR", &state);
    assert_eq!(
        support::finish(&mut command, b"").code,
        Some(0),
        "the health check"
    );
    drop(node);
    let mut command = program(&home);
    command.args(&health[1..]).env("SKYDHT_STATE_DIR", &state);
    assert_eq!(
        support::finish(&mut command, b"").code,
        Some(3),
        "of a node that is gone"
    );
}
