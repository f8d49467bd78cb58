//! Tomcat with the application as a servlet, as its documentation sets up a cluster.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::Lacking;

const SERVLET: &str = include_str!("../tomcat/NemesisServlet.java");
const SERVER: &str = include_str!("../tomcat/server.xml");
const WEB: &str = include_str!("../tomcat/web.xml");
const LOGGING: &str = include_str!("../tomcat/logging.properties");
/// Where Debian puts it; others say so in `CATALINA_HOME`.
const HOME: &str = "/usr/share/tomcat10";
/// Three of them share this machine with the visitors.
const HEAP: &str = "-Xmx512m";

/// What replicates sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// To all nodes, with these `channelSendOptions`.
    Delta(u32),
    /// To one node; the others know where.
    Backup(u32),
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, options) = match self {
            Self::Delta(options) => ("DeltaManager", options),
            Self::Backup(options) => ("BackupManager", options),
        };
        write!(f, "Tomcat {name}, channelSendOptions {options}")
    }
}

/// An installed Tomcat, and the servlet for it.
#[derive(Debug)]
pub(crate) struct Tomcat {
    home: PathBuf,
    class: PathBuf,
}

impl Tomcat {
    /// Finds Tomcat, and compiles the servlet into this folder.
    pub(crate) fn find(folder: &Path) -> anyhow::Result<Self> {
        let home = std::env::var_os("CATALINA_HOME").map_or_else(|| PathBuf::from(HOME), PathBuf::from);
        let jar = home.join("lib/servlet-api.jar");
        if !jar.exists() || !home.join("bin/bootstrap.jar").exists() {
            return Err(Lacking("there is no Tomcat (Debian: apt-get install tomcat10)".to_owned()).into());
        }
        let source = folder.join("NemesisServlet.java");
        fs::write(&source, SERVLET)?;
        let compiled = Command::new("javac").arg("-cp").arg(&jar).arg("-d").arg(folder).arg(&source).output();
        let compiled = compiled
            .map_err(|_| Lacking("there is no `javac` (Debian: apt-get install default-jdk-headless)".to_owned()))?;
        ensure!(compiled.status.success(), "javac: {}", String::from_utf8_lossy(&compiled.stderr));
        Ok(Self { home, class: folder.join("NemesisServlet.class") })
    }

    /// What it calls itself.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let told = Command::new("java")
            .arg("-cp")
            .arg(self.home.join("lib/catalina.jar"))
            .arg("org.apache.catalina.util.ServerInfo")
            .output()?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let line =
            |name: &str| told.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
        Ok(format!("{}, Java {}", line("Server version:"), line("JVM Version:")))
    }

    /// Lays out the folder of a node. The command that starts it.
    pub(crate) fn prepare(
        &self,
        manager: Manager,
        folder: &Path,
        name: &str,
        addr: Ipv4Addr,
        port: u16,
    ) -> anyhow::Result<Vec<String>> {
        let base = folder.join(format!("tomcat-{name}"));
        let app = base.join("webapps/ROOT/WEB-INF");
        for folder in [&app.join("classes"), &base.join("conf"), &base.join("temp"), &base.join("work")] {
            fs::create_dir_all(folder)?;
        }
        fs::write(base.join("conf/server.xml"), server_xml(manager, addr, port))?;
        fs::write(base.join("conf/logging.properties"), LOGGING)?;
        fs::write(app.join("web.xml"), WEB)?;
        fs::copy(&self.class, app.join("classes/NemesisServlet.class")).context("the servlet was not compiled")?;
        let bin = self.home.join("bin");
        let classes = format!("{}:{}", bin.join("bootstrap.jar").display(), bin.join("tomcat-juli.jar").display());
        let property = |name: &str, path: &Path| format!("-D{name}={}", path.display());
        let words = [
            "java".to_owned(),
            HEAP.to_owned(),
            "-Djava.net.preferIPv4Stack=true".to_owned(),
            "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager".to_owned(),
            property("java.util.logging.config.file", &base.join("conf/logging.properties")),
            property("catalina.home", &self.home),
            property("catalina.base", &base),
            property("java.io.tmpdir", &base.join("temp")),
            "-cp".to_owned(),
            classes,
            "org.apache.catalina.startup.Bootstrap".to_owned(),
            "start".to_owned(),
        ];
        Ok(words.into())
    }
}

fn server_xml(manager: Manager, addr: Ipv4Addr, port: u16) -> String {
    let (class, options, own) = match manager {
        Manager::Delta(options) => ("DeltaManager", options, String::new()),
        // Its map has options of its own.
        Manager::Backup(options) => ("BackupManager", options, format!("mapSendOptions=\"{options}\"")),
    };
    SERVER
        .replace("@manager@", class)
        .replace("@manager-options@", &own)
        .replace("@options@", &options.to_string())
        .replace("@addr@", &addr.to_string())
        .replace("@port@", &port.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_replace() {
        for manager in [Manager::Delta(8), Manager::Delta(6), Manager::Backup(6)] {
            let xml = server_xml(manager, Ipv4Addr::LOCALHOST, 81);
            assert!(!xml.contains('@'), "{xml}");
        }
        let xml = server_xml(Manager::Backup(6), Ipv4Addr::LOCALHOST, 81);
        for part in ["channelSendOptions=\"6\"", "mapSendOptions=\"6\"", "port=\"81\""] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }
}
